import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { cilium, type Lab, root, run, startLab } from "./lab.ts";

const MANIFEST = `${root}test/e2e/manifests/agent-restart.yaml`;
const PROBE = `${root}test/e2e/udp-probe.ts`;
const PORT = "7000";
const BACK_MS = 120_000;

interface LabStatus {
  readonly nodes: readonly { readonly name: string; readonly agent?: { readonly pid?: number } }[];
}

async function agents(): Promise<Map<string, number>> {
  const { stdout } = await cilium("lab", "status", "-o", "json");
  const { nodes } = JSON.parse(stdout) as LabStatus;
  return new Map(nodes.flatMap(({ name, agent }) => (agent?.pid ? [[name, agent.pid] as const] : [])));
}

describe("killing every agent with kill -9", () => {
  let lab: Lab;
  let server: ChildProcess;
  let address = "";
  let seenByServer = "";
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await lab.kubectl(...args);
    assert.equal(code, 0, `kubectl ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const probe = (pod: string, seconds: number) =>
    kubectl("-n", "restart", "exec", pod, "--", process.execPath, PROBE, "client", address, PORT, "1000", String(seconds));

  before(async () => {
    lab = await startLab();
    await kubectl("apply", "-f", MANIFEST);
    await kubectl("-n", "restart", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s");
    await kubectl("-n", "restart", "wait", "--for=condition=Valid", "cnp", "--all", "--timeout=90s");
    address = await kubectl("-n", "restart", "get", "pod", "server", "-o", "jsonpath={.status.podIP}");
    const args = ["-n", "restart", "exec", "server", "--", process.execPath, PROBE, "server", PORT];
    server = spawn("kubectl", args, { env: lab.env, stdio: ["ignore", "pipe", "inherit"] });
    server.stdout?.on("data", (chunk: Buffer) => {
      seenByServer += chunk.toString("utf8");
    });
    if (server.stdout) await once(server.stdout, "data");
  });
  after(async () => {
    server?.kill();
    await lab?.[Symbol.asyncDispose]();
  });

  it("loses no packet of an allowed 1 kHz stream and lets none of a denied one through, until and after they are back", async () => {
    const killed = await agents();
    assert.ok(killed.size >= 3, "the lab has three agents");
    const streams = Promise.all([probe("client", 12), probe("stranger", 12)]);
    for (const pid of killed.values()) process.kill(pid, "SIGKILL");
    const [allowed, denied] = (await streams).map((line) => JSON.parse(line) as { sent: number; received: number; lost: number });
    assert.deepEqual(allowed, { sent: 12_000, received: 12_000, lost: 0 });
    assert.equal(denied?.received, 0);
    const stranger = await kubectl("-n", "restart", "get", "pod", "stranger", "-o", "jsonpath={.status.podIP}");
    assert.ok(!seenByServer.includes(stranger), "the server never saw the stranger");
    const back = await agents();
    for (const [node, pid] of back) assert.notEqual(pid, killed.get(node), `${node} has a new agent`);
  });

  it("is what cilium status says plainly while it lasts, with a status of 1", async () => {
    const status = () => run("bin/cilium", ["status"], { env: lab.env });
    let killed = 0;
    let seen = false;
    for (const deadline = Date.now() + BACK_MS; Date.now() < deadline; ) {
      const { code, stdout, stderr } = await status();
      if (code === 0 && seen) return;
      if (code === 0) {
        // Not killed yet, or back before anybody asked.
        const [pid = 0] = (await agents()).values();
        if (pid !== killed && pid !== 0) process.kill(pid, "SIGKILL");
        killed = pid;
        continue;
      }
      assert.equal(code, 1, stderr);
      // What the DaemonSet and its pods say is not of the same moment, neither at the beginning nor at the end.
      if (!/Cilium: +1 restarting/.test(stdout)) continue;
      seen = true;
      assert.match(stdout, /agent restarting, it ended with status 137 at /);
      assert.doesNotMatch(stderr, /ECONNREFUSED/);
    }
    assert.fail(`no agent was seen to restart and to be back within ${BACK_MS} ms`);
  });
});
