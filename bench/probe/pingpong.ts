import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { buildProbe } from "./build.ts";

/** Starts the server end behind a prefix such as `ip netns exec NAME`, pinned to processor 1. */
export async function startServer(prefix: readonly string[], port: number): Promise<AsyncDisposable> {
  const [command = "", ...args] = [...prefix, buildProbe("pingpong"), "server", String(port), "1"];
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
  const [command = "", ...args] = [...prefix, buildProbe("pingpong"), "client", address, String(port), "0", String(rounds)];
  const { stdout } = await promisify(execFile)(command, args, { timeout: 60_000 });
  return Number(stdout.trim()) / 1000;
}
