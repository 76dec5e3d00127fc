import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { promisify } from "node:util";

const source = new URL("pingpong.c", import.meta.url).pathname;
const binary = new URL("../../build/bench/pingpong", import.meta.url).pathname;

/** Compiles the probe when it is older than its source; returns its path. */
export function buildPingpong(): string {
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(new URL("../../build/bench/", import.meta.url), { recursive: true });
    execFileSync("cc", ["-O2", "-Wall", "-static", "-o", binary, source]);
  }
  return binary;
}

/** Starts the server end behind a prefix such as `ip netns exec NAME`, pinned to processor 1. */
export async function startServer(prefix: readonly string[], port: number): Promise<AsyncDisposable> {
  const [command = "", ...args] = [...prefix, buildPingpong(), "server", String(port), "1"];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return {
    async [Symbol.asyncDispose]() {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

/** Median round trip in microseconds, client pinned to processor 0. */
export async function measureRoundTrip(prefix: readonly string[], address: string, port: number, rounds = 20_000): Promise<number> {
  const [command = "", ...args] = [...prefix, buildPingpong(), "client", address, String(port), "0", String(rounds)];
  const { stdout } = await promisify(execFile)(command, args, { timeout: 60_000 });
  return Number(stdout.trim()) / 1000;
}
