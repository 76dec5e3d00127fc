import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createNetns, deleteNetns } from "#netlink/netns.ts";
import { openNetlink } from "#netlink/socket.ts";
import type { Netns } from "#sys/netns.ts";
import { stream } from "#sys/socket.ts";
import { type Benchmark, percentiles, type Row } from "./row.ts";

const PROGRAM = new URL("../src/cmd/proxy.ts", import.meta.url).pathname;
const INGRESS_PORT = 10_001;
const ROUNDS = 10;
/** What the issue allows. */
const GOAL_MS = 300;

/** The proxy's own program in a namespace of its own. */
class World implements AsyncDisposable {
  readonly #name = `takeover-${process.pid}`;
  readonly #directory = mkdtempSync(join(tmpdir(), "takeover-"));
  readonly #children: ChildProcess[] = [];
  readonly #netns: Netns = createNetns(this.#name);

  constructor() {
    using netlink = openNetlink({ netns: this.#netns });
    netlink.apply([{ set: "link", name: "lo", up: true }]);
  }

  /** Starts one; resolves when it says that it serves, or waits. */
  async start(): Promise<ChildProcess> {
    const paths = ["proxy-socket-path", "proxy-state-path", "dns-policy-path", "dns-cache-path"];
    const flags = [...paths.map((flag) => `--${flag}=${join(this.#directory, flag)}`), "--enable-ipv6=false"];
    const command = [`--net=${this.#netns.path}`, process.execPath, PROGRAM, ...flags];
    const child = spawn("nsenter", command, { stdio: ["ignore", "ignore", "pipe"] });
    this.#children.push(child);
    const said = createInterface({ input: child.stderr });
    for await (const line of said) if (line.includes("waiting for its turn")) break;
    child.stderr.resume();
    return child;
  }

  /** Milliseconds until whoever serves takes a connection; it waits in the listener meanwhile. */
  async taken(): Promise<number> {
    const begun = performance.now();
    const socket = new Socket({ fd: stream({ family: 4, netns: this.#netns }) }).connect(INGRESS_PORT, "127.0.0.1");
    // What was not redirected is reset.
    await new Promise<void>((resolve) => socket.once("error", () => resolve()));
    return performance.now() - begun;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await end(child);
    this.#netns.close();
    deleteNetns(this.#name);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

/** How long a node's connections wait when the proxy that serves is killed. */
export const benchmark: Benchmark = {
  name: "takeover",
  about: "the proxy that serves is killed: how long until the one that waits takes a connection",
  async run(progress): Promise<Row[]> {
    await using world = new World();
    const took: number[] = [];
    let serving = await world.start();
    await world.taken();
    for (let round = 0; round < ROUNDS; round++) {
      const next = await world.start();
      const undisturbed = await world.taken();
      const killed = end(serving);
      took.push(Math.max(0, (await world.taken()) - undisturbed));
      await killed;
      serving = next;
    }
    progress(`${ROUNDS} kills`);
    return percentiles({ name: "proxy-takeover", unit: "ms", note: `${ROUNDS} kills` }, took, { p50: GOAL_MS, p99: GOAL_MS });
  },
};
