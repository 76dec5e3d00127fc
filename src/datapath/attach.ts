import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Bpf, CgroupHook, Link, Program, XdpMode } from "#ebpf/bpf.ts";
import type { Expedite } from "./expedite.ts";

/**
 * Programs on hooks, each held by a pinned link: it outlives us, and a restart replaces the program in it without a packet
 * in between. Closing is for handles only; `remove` detaches.
 */
export interface Attachments {
  /** Both programs on the node's end of a pod's veth. Until the endpoint is in the maps they drop everything. */
  endpoint(id: number, ifindex: number): void;
  removeEndpoint(id: number): void;
  /**
   * Frees the id and leaves the programs where they are. For an endpoint that nobody knows any more while its interface may
   * still be there: without a row in the maps its programs drop everything, without programs it would be open.
   */
  orphanEndpoint(id: number): void;
  /** Lets the orphans' programs go: their interfaces are gone. */
  removeOrphans(): void;
  /** Endpoint ids that have links, ours or left over. */
  endpoints(): number[];
  device(name: string, ifindex: number): void;
  /** The program at the device's driver; without a mode, or without the program, none. Throws `KernelError` when the driver cannot. */
  driver(name: string, ifindex: number, mode: XdpMode | undefined): void;
  /** Socket hooks on a cgroup v2 directory. */
  cgroup(directory: string): void;
  /** The programs that decide HTTP at servers' sockets, for the cgroup's pods. Does nothing without them. */
  http(directory: string): void;
  /**
   * No more sockets are taken. Those that were stay under their program for as long as they are open: without it what they receive would pass.
   */
  removeHttp(): void;
  /** Takes the socket hooks away, also those of an agent before. */
  removeCgroup(): void;
}

export interface AttachPrograms {
  readonly fromContainer: Program;
  readonly toContainer: Program;
  readonly fromNetdev: Program;
  readonly toNetdev: Program;
  readonly driver: Program | undefined;
  readonly http:
    | {
        readonly accepted: Program;
        readonly ingress: Program;
        readonly egress: Program;
        readonly verdict: Program;
        readonly sockets: { readonly fd: number };
      }
    | undefined;
  /** Hook name (`connect4`, `sendmsg6`, …) → program. */
  readonly sockets: ReadonlyMap<CgroupHook, Program>;
}

export function createAttachments(
  { bpf, expedite }: { readonly bpf: Bpf; readonly expedite: Expedite },
  programs: AttachPrograms,
  directory: string,
): Attachments {
  const endpointDirectory = (id: number) => join(directory, "endpoints", String(id));
  /** Replaces the program of the link pinned there, or makes the link. */
  const ensure = (pin: string, program: Program, attach: () => Link) => {
    if (existsSync(pin) && replace(bpf, pin, program)) return;
    rmSync(pin, { force: true });
    const link = attach();
    try {
      link.pin(pin);
    } catch (thrown) {
      link.detach();
      throw thrown;
    } finally {
      link.close();
    }
  };
  return {
    endpoint(id, ifindex) {
      const at = endpointDirectory(id);
      mkdirSync(at, { recursive: true });
      expedite(() => {
        ensure(join(at, "from_container"), programs.fromContainer, () => bpf.attachTcx(programs.fromContainer, ifindex, "ingress"));
        ensure(join(at, "to_container"), programs.toContainer, () => bpf.attachTcx(programs.toContainer, ifindex, "egress"));
      });
    },
    removeEndpoint(id) {
      rmSync(endpointDirectory(id), { recursive: true, force: true });
    },
    orphanEndpoint(id) {
      const orphans = join(directory, "orphans");
      mkdirSync(orphans, { recursive: true });
      renameSync(endpointDirectory(id), join(orphans, `${id}-${Date.now()}`));
    },
    removeOrphans() {
      rmSync(join(directory, "orphans"), { recursive: true, force: true });
    },
    endpoints() {
      const at = join(directory, "endpoints");
      return existsSync(at) ? readdirSync(at).map(Number).filter(Number.isInteger) : [];
    },
    device(name, ifindex) {
      const at = join(directory, "devices", name);
      mkdirSync(at, { recursive: true });
      ensure(join(at, "from_netdev"), programs.fromNetdev, () => bpf.attachTcx(programs.fromNetdev, ifindex, "ingress"));
      ensure(join(at, "to_netdev"), programs.toNetdev, () => bpf.attachTcx(programs.toNetdev, ifindex, "egress"));
    },
    driver(name, ifindex, mode) {
      const at = join(directory, "devices", name);
      mkdirSync(at, { recursive: true });
      const pin = (one: XdpMode) => join(at, `xdp_${one}`);
      for (const one of ["native", "generic"] as const) if (one !== mode) rmSync(pin(one), { force: true });
      const program = programs.driver;
      if (mode && program) ensure(pin(mode), program, () => bpf.attachXdp(program, ifindex, mode));
    },
    http(cgroupDirectory) {
      const { http } = programs;
      if (http === undefined) return;
      const at = join(directory, "http");
      mkdirSync(at, { recursive: true });
      ensure(join(at, "verdict"), http.verdict, () => bpf.attachSockets(http.verdict, http.sockets));
      ensure(join(at, "ingress"), http.ingress, () => bpf.attachCgroup(http.ingress, cgroupDirectory, "ingress"));
      ensure(join(at, "egress"), http.egress, () => bpf.attachCgroup(http.egress, cgroupDirectory, "egress"));
      ensure(join(at, "accepted"), http.accepted, () => bpf.attachCgroup(http.accepted, cgroupDirectory, "sock_ops"));
    },
    removeHttp() {
      rmSync(join(directory, "http", "accepted"), { force: true });
    },
    removeCgroup() {
      rmSync(join(directory, "socketlb"), { recursive: true, force: true });
    },
    cgroup(cgroupDirectory) {
      const at = join(directory, "socketlb");
      mkdirSync(at, { recursive: true });
      for (const [hook, program] of programs.sockets)
        ensure(join(at, hook), program, () => bpf.attachCgroup(program, cgroupDirectory, hook));
    },
  };
}

/** False when the link is dead: its device or cgroup is gone. */
function replace(bpf: Bpf, pin: string, program: Program): boolean {
  try {
    const link = bpf.openLink(pin);
    try {
      link.update(program);
      return true;
    } finally {
      link.close();
    }
  } catch {
    return false;
  }
}
