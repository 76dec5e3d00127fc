import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { silentLogger } from "#runtime/logger.ts";
import type { AccessMessage, PolicyMessage, ProxyMessage } from "../protocol.ts";
import { DEFAULT_PROXY_CONFIG, type RunningProxy, startProxy } from "../proxy.ts";
import { anyPeer, policyOf } from "../testing/loopback.ts";
import { createAccessStream } from "./access-stream.ts";
import { loadSnapshot, saveSnapshot } from "./snapshot-file.ts";

const record = (time: number): AccessMessage => ({
  ...{ type: "access", time, kind: "request", verdict: "FORWARDED", direction: "ingress", endpointId: 1, latencyNs: 0, policyRevision: 1 },
  source: { ip: "10.0.0.1", port: 1, identity: 1 },
  destination: { ip: "10.0.0.2", port: 80, identity: 2 },
  http: { method: "GET", url: "http://a/", protocol: "HTTP/1.1", code: 0, headers: [] },
});
const timesOf = (lines: readonly string[]) =>
  lines
    .join("")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as ProxyMessage)
    .map((message) => (message.type === "access" ? message.time : message.type === "lost" ? `lost ${message.count}` : message.type));

describe("access stream", () => {
  it("keeps records for an agent that comes later, the newest ones, and says how many it lost", () => {
    const stream = createAccessStream(3, (flush) => flush());
    for (let time = 1; time <= 10; time++) stream.push(record(time));
    const lines: string[] = [];
    stream.connect({ write: (text) => lines.push(text) > 0 });
    assert.deepEqual(timesOf(lines), ["lost 7", 8, 9, 10]);
    stream.push(record(11));
    assert.deepEqual(timesOf(lines).at(-1), 11);
    assert.equal(stream.lost, 7);
  });

  it("stops when the agent is slow and goes on when it has caught up", () => {
    const stream = createAccessStream(2, (flush) => flush());
    const lines: string[] = [];
    stream.connect({ write: (text) => lines.push(text) < 0 });
    for (let time = 1; time <= 5; time++) stream.push(record(time));
    assert.deepEqual(timesOf(lines), [1]);
    stream.drained();
    assert.deepEqual(timesOf(lines), [1, "lost 2", 4, 5]);
  });

  it("accounts for every record: delivered + lost = seen", () => {
    const stream = createAccessStream(50, () => undefined);
    const lines: string[] = [];
    for (let time = 0; time < 1000; time++) {
      stream.push(record(time));
      if (time % 90 === 0) {
        stream.connect({ write: (text) => lines.push(text) > 0 });
        stream.flush();
        stream.connect(undefined);
      }
    }
    stream.connect({ write: (text) => lines.push(text) > 0 });
    stream.flush();
    const delivered = timesOf(lines).filter((time) => typeof time === "number").length;
    assert.equal(delivered + stream.lost, 1000);
  });
});

describe("control socket and saved policy", () => {
  let directory = "";
  const config = () => ({
    ...DEFAULT_PROXY_CONFIG,
    socketPath: join(directory, "proxy.sock"),
    statePath: join(directory, "state", "policy.json"),
  });
  const start = (): Promise<RunningProxy> =>
    startProxy(
      {
        log: silentLogger,
        identities: { identityOf: () => 1, refresh: () => undefined },
        transport: { listen: async () => [createServer()], connect: () => connect(0) },
      },
      config(),
    );
  /** Sends lines and resolves with the first `count` answers. */
  const ask = (count: number, ...lines: readonly (string | object)[]) =>
    new Promise<ProxyMessage[]>((resolve, reject) => {
      const socket = connect(config().socketPath);
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        const answers = text.split("\n").slice(0, -1);
        if (answers.length < count) return;
        socket.destroy();
        resolve(answers.map((line) => JSON.parse(line) as ProxyMessage));
      });
      socket.on("error", reject);
      // In small pieces: lines do not come whole.
      const bytes = lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
      socket.write(bytes.slice(0, 10));
      socket.write(bytes.slice(10));
    });
  const policy: PolicyMessage = policyOf([anyPeer({ path: "/x" })], 5);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "cilium-proxy-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  it("puts a policy in force, keeps it, and restores it at the next start", async () => {
    {
      await using proxy = await start();
      assert.equal(proxy.status().revision, null);
      assert.equal(statSync(config().socketPath).mode & 0o777, 0o600);
      const [ack, status] = await ask(2, policy, { type: "status" });
      assert.deepEqual(ack, { type: "ack", revision: 5 });
      assert.deepEqual(status, { type: "status", revision: 5, restored: false, endpoints: 1, redirects: 1, connections: 0 });
      assert.equal(statSync(config().statePath).mode & 0o777, 0o600);
    }
    await using again = await start();
    assert.equal(again.status().revision, 5);
    assert.equal(again.status().restored, true);
  });

  it("refuses what it cannot use, says where, and goes on with what it has", async () => {
    await using proxy = await start();
    const bad = { ...policy, revision: 6, endpoints: [{ ...policy.endpoints[0], id: "x" }] };
    const answers = await ask(4, "{", { type: "weather" }, bad, { type: "status" });
    assert.deepEqual(
      answers.map((answer) => (answer.type === "nack" ? [answer.revision, answer.issues[0]?.path] : answer.type)),
      [[null, ""], [null, "type"], [6, "endpoints[0].id"], "status"],
    );
    assert.equal(proxy.status().revision, 5);
  });

  it("replaces the socket that a dead proxy left", async () => {
    writeFileSync(config().socketPath, "");
    await using _proxy = await start();
    assert.equal((await ask(1, { type: "status" }))[0]?.type, "status");
  });

  it("treats a damaged file as no policy: everything is denied", () => {
    const path = join(directory, "damaged.json");
    const problems: string[] = [];
    writeFileSync(path, '{"type":"policy","revision":1,"endpo');
    assert.equal(
      loadSnapshot(path, (problem) => problems.push(problem)),
      undefined,
    );
    assert.equal(problems.length, 1);
    assert.equal(
      loadSnapshot(join(directory, "absent.json"), (problem) => problems.push(problem)),
      undefined,
    );
    assert.equal(problems.length, 1);
  });

  it("leaves the old file alone when the new one cannot be written", () => {
    const path = join(directory, "kept.json");
    saveSnapshot(path, policy);
    const before = readFileSync(path, "utf8");
    rmSync(`${path}.new`, { force: true });
    // A directory in its way makes the write fail, even for root.
    const blocked = join(directory, "blocked");
    writeFileSync(blocked, "");
    chmodSync(blocked, 0o600);
    assert.throws(() => saveSnapshot(join(blocked, "policy.json"), policy));
    assert.equal(readFileSync(path, "utf8"), before);
    assert.equal(existsSync(`${path}.new`), false);
  });
});
