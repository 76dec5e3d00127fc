import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { silentLogger } from "#runtime/logger.ts";
import { replayDeleteQueue } from "./delete-queue.ts";
import { type CniInstallation, writeConflist } from "./install.ts";
import { type Attachments, answerCni } from "./plugin.ts";
import { CNI_ERROR, CniError } from "./request.ts";
import { startCniServer } from "./server.ts";

const attachment = {
  hostInterface: "lxc0123456789",
  hostMac: "02:00:00:00:00:01",
  ifname: "eth0",
  mac: "02:00:00:00:00:02",
  netns: "/run/netns/a",
  mtu: 1500,
  addresses: [{ address: "10.0.0.7", gateway: "10.0.0.1" }],
};

function fakeAttachments(overrides: Partial<Attachments> = {}): Attachments & { readonly removed: string[] } {
  const removed: string[] = [];
  return {
    removed,
    add: async () => attachment,
    remove: async ({ containerId }) => void removed.push(containerId),
    check: async () => {},
    collect: async () => {},
    unavailable: () => undefined,
    ...overrides,
  };
}

const line = (fields: Record<string, unknown>) =>
  JSON.stringify({
    command: "ADD",
    containerId: "c1",
    netns: "/run/netns/a",
    ifname: "eth0",
    args: "K8S_POD_NAMESPACE=d;K8S_POD_NAME=p",
    config: { cniVersion: "1.0.0" },
    ...fields,
  });

describe("answerCni", () => {
  it("answers ADD in the version it was asked for", async () => {
    const ips = async (cniVersion: string) => {
      const answer = await answerCni(fakeAttachments(), line({ config: { cniVersion } }));
      assert.equal(answer.exitCode, 0);
      const result = answer.stdout as { cniVersion: string; ips: unknown[]; interfaces: { mtu?: number }[] };
      assert.equal(result.cniVersion, cniVersion);
      return [result.ips[0], result.interfaces[1]?.mtu];
    };
    const common = { address: "10.0.0.7/32", gateway: "10.0.0.1", interface: 1 };
    assert.deepEqual(await ips("0.3.1"), [{ version: "4", ...common }, undefined]);
    assert.deepEqual(await ips("1.0.0"), [common, undefined]);
    assert.deepEqual(await ips("1.1.0"), [common, 1500]);
  });
  it("refuses a version it does not speak, a missing variable and a name that is no interface", async () => {
    const failure = async (fields: Record<string, unknown>) => {
      const answer = await answerCni(fakeAttachments(), line(fields));
      assert.equal(answer.exitCode, 1);
      const { code, msg } = answer.stdout as { code: number; msg: string };
      return `${code} ${msg}`;
    };
    assert.match(await failure({ config: { cniVersion: "2.0.0" } }), /^1 cniVersion: found "2.0.0", supported are 0.3.0/);
    assert.match(await failure({ containerId: "" }), /^4 CNI_CONTAINERID/);
    assert.match(await failure({ containerId: "../x" }), /^4 CNI_CONTAINERID/);
    assert.match(await failure({ ifname: "a b" }), /^4 CNI_IFNAME/);
    assert.match(await failure({ netns: "" }), /^4 CNI_NETNS: empty, needed for ADD/);
    assert.match(await failure({ command: "NOPE" }), /^4 CNI_COMMAND: found "NOPE"/);
  });
  it("answers a repeated DEL without a namespace with success and no output", async () => {
    const attachments = fakeAttachments();
    assert.deepEqual(await answerCni(attachments, line({ command: "DEL", netns: "" })), { exitCode: 0 });
    assert.deepEqual(attachments.removed, ["c1"]);
  });
  it("says try again while the agent is not ready, and not available at STATUS", async () => {
    const starting = fakeAttachments({ unavailable: () => "the agent is starting" });
    const code = async (command: string) => ((await answerCni(starting, line({ command }))).stdout as { code: number }).code;
    assert.equal(await code("ADD"), 11);
    assert.equal(await code("STATUS"), 50);
  });
  it("passes the code of a CniError on, and takes any other failure as temporary", async () => {
    const throwing = (error: Error) => fakeAttachments({ add: async () => Promise.reject(error) });
    const code = async (error: Error) => ((await answerCni(throwing(error), line({}))).stdout as { code: number }).code;
    assert.equal(await code(new CniError(CNI_ERROR.unknownContainer, "no pod")), 3);
    assert.equal(await code(new Error("EIO")), 11);
  });
  it("never throws on anything that comes in", async () => {
    for (const text of ["", "null", "[]", "{}", '{"command":1}', "\u0000"])
      assert.equal((await answerCni(fakeAttachments(), text)).exitCode, 1);
  });
});

describe("the CNI socket", () => {
  it("answers one line with one line and closes", async () => {
    const directory = mkdtempSync(join(tmpdir(), "cni-"));
    try {
      const path = join(directory, "cni.sock");
      await using _server = await startCniServer({ attachments: fakeAttachments(), log: silentLogger }, { path });
      const socket = connect(path).setEncoding("utf8");
      socket.write(`${line({ command: "VERSION" })}\n`);
      const text = (await Array.fromAsync(socket)).join("");
      assert.equal(JSON.parse(text).stdout.supportedVersions.includes("1.1.0"), true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("replayDeleteQueue", () => {
  it("replays each file once, keeps what failed and drops what is no request", async () => {
    const directory = mkdtempSync(join(tmpdir(), "cni-"));
    try {
      writeFileSync(join(directory, "c1-eth0.delete"), line({ command: "DEL", netns: "" }));
      writeFileSync(join(directory, "c2-eth0.delete"), line({ command: "DEL", containerId: "c2" }));
      writeFileSync(join(directory, "c3-eth0.delete"), "garbage");
      const attachments = fakeAttachments({
        remove: async ({ containerId }) => (containerId === "c2" ? Promise.reject(new Error("EBUSY")) : undefined),
      });
      assert.equal(await replayDeleteQueue({ attachments, log: silentLogger }, directory), 1);
      assert.deepEqual(readdirSync(directory), ["c2-eth0.delete"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("writeConflist", () => {
  it("writes once, sets foreign configurations aside, and repairs", () => {
    const directory = mkdtempSync(join(tmpdir(), "cni-"));
    try {
      writeFileSync(join(directory, "10-other.conflist"), "{}");
      const installation: CniInstallation = {
        configDirectory: directory,
        binDirectory: directory,
        plugin: "",
        exclusive: true,
        socketPath: "/var/run/cilium/cni.sock",
        logFile: "/var/run/cilium/cilium-cni.log",
      };
      assert.deepEqual(writeConflist(installation), ["05-cilium.conflist", "10-other.conflist"]);
      assert.deepEqual(writeConflist(installation), []);
      rmSync(join(directory, "05-cilium.conflist"));
      assert.deepEqual(writeConflist(installation), ["05-cilium.conflist"]);
      assert.equal(existsSync(join(directory, "10-other.conflist.cilium_bak")), true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
