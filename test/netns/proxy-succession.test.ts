import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { createNetns, deleteNetns } from "#netlink/netns.ts";
import { openNetlink } from "#netlink/socket.ts";
import type { Netns } from "#sys/netns.ts";
import { stream } from "#sys/socket.ts";

const PROGRAM = new URL("../../src/cmd/proxy.ts", import.meta.url).pathname;
const INGRESS_PORT = 10_001;

/** A proxy, and what it has said. */
interface Started {
  readonly child: ChildProcess;
  /** Resolves when it serves. */
  readonly serves: Promise<void>;
  /** Resolves when it waits for its turn with everything prepared. */
  readonly waits: Promise<void>;
}

describe("the proxies of a node", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  const name = `cilia-succession-${process.pid}`;
  const directory = mkdtempSync(join(tmpdir(), "succession-"));
  const control = join(directory, "proxy.sock");
  const started: Started[] = [];
  let netns: Netns;

  const start = (...more: string[]): Started => {
    const paths = ["proxy-state-path", "dns-policy-path", "dns-cache-path"].map((flag) => `--${flag}=${join(directory, flag)}`);
    const flags = [`--proxy-socket-path=${control}`, "--enable-ipv6=false", ...paths, ...more];
    const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, PROGRAM, ...flags], { stdio: ["ignore", "inherit", "pipe"] });
    const said = createInterface({ input: child.stderr as NonNullable<typeof child.stderr> });
    const says = (text: string) =>
      new Promise<void>((resolve) => {
        said.on("line", (line) => {
          if (line.includes(text)) resolve();
        });
      });
    const one = { child, serves: says("listening for redirected connections"), waits: says("waiting for its turn") };
    started.push(one);
    return one;
  };
  const end = async ({ child }: Started, signal: NodeJS.Signals) => {
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  };
  /** Whether the one behind the agent's socket answers. */
  const answers = async () => {
    const socket = connect(control);
    socket.write('{"type":"status"}\n');
    const [line] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    return line.toString().includes('"status"');
  };
  /** A connection to the listener itself, taken by the kernel; whoever serves resets it. */
  const dial = () => new Socket({ fd: stream({ family: 4, netns }) }).connect(INGRESS_PORT, "127.0.0.1");
  const reset = (socket: Socket) => new Promise((resolve) => socket.on("error", resolve));

  before(() => {
    netns = createNetns(name);
    using netlink = openNetlink({ netns });
    netlink.apply([{ set: "link", name: "lo", up: true }]);
  });
  after(async () => {
    for (const one of started) if (one.child.exitCode === null && one.child.signalCode === null) await end(one, "SIGKILL");
    netns.close();
    deleteNetns(name);
    rmSync(directory, { recursive: true, force: true });
  });

  it("go on one after the other, however one ends, and what waits in the sockets is the next one's", async () => {
    const first = start();
    await first.serves;
    const second = start();
    await second.waits;
    // It reads nothing any more: the connection waits in its listener.
    first.child.kill("SIGSTOP");
    const held = dial();
    await once(held, "connect");
    const taken = reset(held);
    await end(first, "SIGKILL");
    await Promise.all([second.serves, taken]);
    assert.equal(await answers(), true);

    const third = start();
    await third.waits;
    await end(second, "SIGTERM");
    await third.serves;
    assert.equal(await answers(), true);
    assert.equal(second.child.exitCode, 0);
  });

  it("when all are told to end at once, one of them serves until another can", async () => {
    const waiting = start();
    await waiting.waits;
    const both = started.slice(-2);
    const exits = both.map(async (one) => {
      await once(one.child, "exit");
      return one;
    });
    for (const { child } of both) child.kill("SIGTERM");
    const gone = await Promise.race(exits);
    assert.equal(gone.child.exitCode, 0);
    const [left] = both.filter((one) => one !== gone);
    assert.equal(left?.child.exitCode, null);
    while (!(await answers().catch(() => false))) await wait(10);
    const next = start();
    await next.serves;
    await Promise.all(exits);
  });

  it("one that is to end serves until another can, with the sockets that both need", async () => {
    const [last] = started.slice(-1) as [Started];
    last.child.kill("SIGTERM");
    assert.equal(await answers(), true);
    const next = start("--proxy-prometheus-port=0", "--enable-ipv6=true");
    await next.serves;
    assert.equal(await answers(), true);
    const socket = dial();
    await reset(socket);
    await end(next, "SIGKILL");
  });
});
