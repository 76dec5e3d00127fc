import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { SUPPORTED_VERSIONS } from "#cni/result.ts";

const plugin = new URL("../../build/cilium-cni", import.meta.url).pathname;

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
}

describe("cilium-cni", () => {
  let directory: string;
  let socket: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "cilia-cni-"));
    socket = join(directory, "cni.sock");
  });
  after(() => rmSync(directory, { recursive: true }));

  function run(command: string, input?: string, extra: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: "abc/../d", CNI_IFNAME: "eth0", CNI_ARGS: 'K8S_POD_NAME=a"b', ...extra };
    const child = spawn(plugin, { env, stdio: ["pipe", "pipe", "inherit"] });
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    // A plugin that needs no input may be gone before it is written.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? JSON.stringify({ cniVersion: "0.3.1", name: "cilium", "agent-socket": socket }, null, 2));
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout })));
  }

  /** The plugin against an agent that answers with `reply`. */
  async function withAgent(reply: string, command: string): Promise<Outcome & { readonly request: string }> {
    let request = "";
    const server = createServer((connection) => {
      connection.setEncoding("utf8").on("data", (text: string) => {
        request += text;
        if (text.endsWith("\n")) connection.end(reply);
      });
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    try {
      return { ...(await run(command)), request };
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  it("hands everything to the agent and its answer back", async () => {
    const answer = { cniVersion: "0.3.1", ips: [{ address: "10.0.0.1/32", x: '}"]' }] };
    const { code, stdout, request } = await withAgent(`${JSON.stringify({ exitCode: 0, stdout: answer })}\n`, "ADD");
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), answer);
    assert.equal(request.indexOf("\n"), request.length - 1);
    assert.deepEqual(JSON.parse(request), {
      command: "ADD",
      containerId: "abc/../d",
      netns: "",
      ifname: "eth0",
      args: 'K8S_POD_NAME=a"b',
      path: "",
      config: { cniVersion: "0.3.1", name: "cilium", "agent-socket": socket },
    });
  });

  it("prints the agent's error and exits with its code; prints nothing for null", async () => {
    const refused = await withAgent('{"stdout":{"cniVersion":"0.3.1","code":7,"msg":"no"},"exitCode":1}\n', "ADD");
    assert.deepEqual([refused.code, JSON.parse(refused.stdout).code], [1, 7]);
    assert.deepEqual(await withAgent('{"exitCode":0,"stdout":null}\n', "DEL").then(({ code, stdout }) => [code, stdout]), [0, ""]);
  });

  it("fails closed without an agent, or with half an answer", async () => {
    const add = await run("ADD");
    assert.deepEqual([add.code, JSON.parse(add.stdout).code, JSON.parse(add.stdout).cniVersion], [1, 11, "0.3.1"]);
    assert.equal(JSON.parse((await run("CHECK")).stdout).code, 11);
    assert.equal(JSON.parse((await run("STATUS")).stdout).code, 50);
    const half = await withAgent('{"exitCode":0,"stdo', "ADD");
    assert.deepEqual([half.code, JSON.parse(half.stdout).code], [1, 11]);
  });

  it("queues a deletion for later, once for each attachment", async () => {
    for (let round = 0; round < 2; round++) assert.deepEqual(await run("DEL"), { code: 0, stdout: "" });
    const queue = join(directory, "deleteQueue");
    assert.deepEqual(readdirSync(queue), ["abc_.._d-eth0.delete"]);
    assert.equal(JSON.parse(readFileSync(join(queue, "abc_.._d-eth0.delete"), "utf8")).command, "DEL");
    for (let i = 0; i < 255; i++) await run("DEL", undefined, { CNI_CONTAINERID: `c${i}` });
    const full = await run("DEL", undefined, { CNI_CONTAINERID: "one-too-many" });
    assert.deepEqual([full.code, JSON.parse(full.stdout).code], [1, 5]);
  });

  it("tells its versions by itself, and what it does not understand", async () => {
    assert.deepEqual(
      JSON.parse((await run("VERSION", "")).stdout).supportedVersions,
      SUPPORTED_VERSIONS,
      "those that the agent answers in",
    );
    assert.equal(JSON.parse((await run("ADD", "not json")).stdout).code, 6);
    assert.equal(JSON.parse((await run("ADD", '{"a":')).stdout).code, 6);
    assert.equal(JSON.parse((await run("DANCE")).stdout).code, 4);
  });
});
