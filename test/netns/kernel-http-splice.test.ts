import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { PeerRule } from "#proxy/protocol.ts";
import { KernelHttp } from "./kernel-http.ts";
import { dial, RealNode, type RealPod } from "./nodes.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const [CLIENT, SERVER] = [10001, 10002];
const RULES: readonly PeerRule[] = [{ identities: null, http: [{ method: "GET", path: "/public" }], origins: [] }];
const SCRIPT = new URL("splice-server.pl", import.meta.url).pathname;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\nUser-Agent: a-client-of-ordinary-words/1.0\r\n\r\n`;

/** A server that takes bytes out of its sockets' queues behind the back of whoever judges them. */
class SpliceServer implements AsyncDisposable {
  readonly #child: ChildProcess;
  #lines: string[] = [];
  #wake = () => {};

  constructor(pod: RealPod, lowat: number, where: "listener" | "late" | "never" | "told") {
    const child = spawn("nsenter", [`--net=/proc/self/fd/3`, "perl", SCRIPT, "80", String(lowat), where], {
      stdio: ["pipe", "pipe", "inherit", pod.netns.fd],
    });
    child.stdout?.on("data", (chunk: Buffer) => {
      this.#lines.push(...chunk.toString().trim().split("\n"));
      this.#wake();
    });
    this.#child = child;
  }

  async until(line: string): Promise<void> {
    while (!this.#lines.includes(line)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** Lets it accept one connection. */
  accept(): void {
    this.#child.stdin?.write("\n");
  }

  /** Bytes that it took. */
  get bytes(): number {
    return this.#lines.reduce((sum, line) => sum + Math.max(0, Number(/^got (-?\d+)$/.exec(line)?.[1] ?? 0)), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}

describe("a server that splices what it receives", { skip: missing }, () => {
  let node: RealNode;
  let client: RealPod;
  let server: RealPod;
  let http: KernelHttp;

  before(() => {
    node = new RealNode(`csplice${process.pid}`, 1);
    const other = new RealNode(`csplice${process.pid}`, 2);
    RealNode.connect(node, other);
    node.start({ enableHttp: 1 });
    client = node.addPod("a", CLIENT);
    server = node.addPod("b", SERVER);
    node.learn([node]);
    http = new KernelHttp(node.object);
    node.maps.setPolicy(server, { ingress: [{ peer: CLIENT, protocol: 6, port: 80, proxyPort: 10001 }] });
  });

  after(() => {
    http[Symbol.dispose]();
    node[Symbol.dispose]();
  });

  /** Asks for what is denied and for what is allowed, and waits until both have been decided. What the server has taken at its end. */
  const taken = async (lowat: number, where: "listener" | "late" | "never", decided: () => boolean): Promise<number> => {
    const splicing = new SpliceServer(server, lowat, where);
    try {
      await splicing.until("ready");
      http.allow(server, CLIENT, RULES);
      const socket = await dial(client.netns, server.ipv4, 80, 5000);
      await splicing.until("accepted");
      for (const path of ["/secret", "/public"]) socket.write(get(path));
      while (!decided()) await wait(5);
      socket.destroy();
    } finally {
      await splicing[Symbol.asyncDispose]();
    }
    return splicing.bytes;
  };

  it("gets nothing, for what is decided waits where it does not look", async () => {
    const before = http.counts;
    const isDecided = () =>
      http.counts.denied > before.denied && http.counts.forwarded + http.counts.handedOver > before.forwarded + before.handedOver;
    assert.equal(await taken(0, "never", isDecided), 0);
    assert.ok(!http.isOdd(server));
  });

  it("finds what came before it accepted only when that is allowed", async () => {
    for (const [path, isAllowed] of [
      ["/public", true],
      ["/secret", false],
    ] as const) {
      const before = http.counts;
      const splicing = new SpliceServer(server, 0, "told");
      try {
        await splicing.until("ready");
        http.allow(server, CLIENT, RULES);
        const socket = await dial(client.netns, server.ipv4, 80, 5000);
        socket.write(get(path));
        await wait(100);
        splicing.accept();
        if (isAllowed) await splicing.until(`got ${get(path).length}`);
        else while (http.counts.denied === before.denied) await wait(5);
        socket.destroy();
      } finally {
        await splicing[Symbol.asyncDispose]();
      }
      assert.equal(splicing.bytes, isAllowed ? get(path).length : 0);
    }
  });

  for (const where of ["late", "listener"] as const) {
    it(`gets nothing when its ${where === "late" ? "socket" : "listener"} waits for more, and the port's next connections are the proxy's`, async () => {
      const before = http.counts;
      assert.equal(await taken(100_000, where, () => http.counts.cut > before.cut), 0);
      assert.ok(http.isOdd(server));
      assert.equal(http.counts.handedOver - before.handedOver, 1);
    });
  }
});
