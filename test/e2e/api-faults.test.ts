import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startApiServer } from "#apiserver/apiserver.ts";
import { silentLogger } from "#runtime/logger.ts";
import { MS, mount, unmount } from "#sys/mount.ts";
import { KUBECTLS } from "./api-server.ts";
import { run } from "./lab.ts";

const deps = { log: silentLogger };
const notRoot = process.getuid?.() === 0 ? false : "needs root";
const WRITER = join(import.meta.dirname, "api-writer.ts");

describe("the API server under faults", () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "cilia-faults-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("has every object that it said it had, after kill -9 in the middle of writing", async () => {
    const state = join(directory, "killed");
    const writer = spawn(process.execPath, [WRITER, state], { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    const enough = Promise.withResolvers<void>();
    writer.stdout.on("data", (chunk: Buffer) => {
      said += String(chunk);
      if (said.split("\n").length > 300) enough.resolve();
    });
    await enough.promise;
    await assert.rejects(startApiServer(deps, { directory: state, listeners: [] }), /in use by another API server/);
    writer.kill("SIGKILL");
    await once(writer, "exit");
    const stored = Number(said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1));
    await using api = await startApiServer(deps, { directory: state, listeners: [] });
    const names = new Set(
      api.client.list<{ metadata: { name: string } }>("configmaps", { namespace: "default" }).items.map(({ metadata }) => metadata.name),
    );
    for (let count = 1; count <= stored; count++) assert.ok(names.has(`c${count}`), `c${count} of ${stored} is lost`);
  });

  it("serves reads, says 507 to writes, and recovers, when the disk is full", async () => {
    const state = join(directory, "full");
    await using api = await startApiServer(deps, { directory: state, listeners: [{ host: "127.0.0.1", port: 0 }], maxPages: 36 });
    const kubeconfig = join(directory, "full.kubeconfig");
    writeFileSync(kubeconfig, api.kubeconfig());
    const kubectl = (...args: string[]) =>
      run(KUBECTLS[0] ?? "kubectl", args, { env: { ...process.env, KUBECONFIG: kubeconfig, HOME: directory } });
    const refused = await kubectl("create", "configmap", "big", `--from-literal=a=${"x".repeat(120_000)}`);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /database or disk is full; nothing was changed, free some space and try again/);
    assert.match((await kubectl("get", "ns")).stdout, /kube-system +Active/);
    assert.match((await kubectl("delete", "configmap", "kube-root-ca.crt")).stdout, /deleted/);
  });

  it("loses nothing on a disk that fills up under it, and goes on when there is space again", { skip: notRoot }, async () => {
    const disk = join(directory, "disk");
    mkdirSync(disk);
    mount({ type: "tmpfs", source: "none", target: disk, data: "size=8m" });
    try {
      const api = await startApiServer(deps, { directory: join(disk, "state"), listeners: [] });
      const create = (name: string) =>
        api.client.create("configmaps", { metadata: { name, namespace: "default" }, data: { a: "x".repeat(50_000) } });
      const stored: string[] = [];
      assert.throws(() => {
        for (let count = 0; count < 1000; count++) {
          create(`c${count}`);
          stored.push(`c${count}`);
        }
      }, /disk is full; nothing was changed, free some space and try again/);
      assert.ok(stored.length > 20);
      mount({ type: "tmpfs", source: "none", target: disk, flags: MS.REMOUNT, data: "size=64m" });
      create("after");
      await api[Symbol.asyncDispose]();
      await using again = await startApiServer(deps, { directory: join(disk, "state"), listeners: [] });
      for (const name of [...stored, "after"]) assert.ok(again.client.get("configmaps", name, "default"), name);
    } finally {
      unmount(disk);
    }
  });

  it("keeps kubeconfigs, tokens, versions and watches' numbers over a restart", async () => {
    const state = join(directory, "restart");
    const start = () => startApiServer(deps, { directory: state, listeners: [{ host: "127.0.0.1", port: 0 }] });
    const first = await start();
    const token = first.serviceAccountToken("default", "default");
    const { resourceVersion } = first.client.list("configmaps");
    const { ca } = first;
    await first[Symbol.asyncDispose]();
    await using second = await start();
    assert.equal(second.ca, ca);
    assert.ok(Number(second.client.list("configmaps").resourceVersion) >= Number(resourceVersion));
    const { code, stdout } = await run(
      KUBECTLS[0] ?? "kubectl",
      ["--server", `https://127.0.0.1:${second.addresses[0]?.port}`, "--insecure-skip-tls-verify", "--token", token, "auth", "whoami"],
      {
        env: { ...process.env, KUBECONFIG: "/dev/null", HOME: directory },
      },
    );
    assert.equal(code, 0);
    assert.match(stdout, /system:serviceaccount:default:default/);
  });
});
