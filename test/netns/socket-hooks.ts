import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CgroupHook, LoadedObject, Program } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { findCgroup2 } from "#sys/mount.ts";

const HOOKS: Readonly<Record<string, CgroupHook>> = {
  cil_sock4_connect: "connect4",
  cil_sock6_connect: "connect6",
  cil_sock4_sendmsg: "sendmsg4",
  cil_sock6_sendmsg: "sendmsg6",
  cil_sock4_recvmsg: "recvmsg4",
  cil_sock6_recvmsg: "recvmsg6",
  cil_sock4_getpeername: "getpeername4",
  cil_sock6_getpeername: "getpeername6",
  cil_sock4_post_bind: "post_bind4",
  cil_sock6_post_bind: "post_bind6",
};

/** A cgroup of the tests. */
export interface TestCgroup extends Disposable {
  readonly path: string;
  /** While `work` runs, sockets that this process makes belong to the cgroup, and for ever after. */
  within<T>(work: () => Promise<T>): Promise<T>;
}

export function makeCgroup(name: string): TestCgroup {
  const root = findCgroup2();
  if (root === undefined) throw new Error("no cgroup v2 is mounted");
  const path = join(root, name);
  mkdirSync(path);
  const enter = (directory: string) => writeFileSync(join(directory, "cgroup.procs"), String(process.pid));
  return {
    path,
    async within(work) {
      const home = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";
      enter(path);
      try {
        return await work();
      } finally {
        enter(join(root, home));
      }
    },
    [Symbol.dispose]: () => rmdirSync(path),
  };
}

/** Attaches all programs that translate at sockets to a cgroup; they go with the object. */
export function attachSocketHooks(object: LoadedObject, cgroup: string): Program[] {
  return Object.entries(HOOKS).map(([name, hook]) => {
    const program = object.program(name);
    openBpf().attachCgroup(program, cgroup, hook);
    return program;
  });
}
