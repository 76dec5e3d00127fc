import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { buildProbe } from "./build.ts";

/** A round trip in small. */
const SMALL = 64;

/** Starts the server end behind a prefix such as `ip netns exec NAME`, pinned to processor 1; `bytes` is the length of a question. */
export async function startServer(prefix: readonly string[], port: number, bytes = SMALL): Promise<AsyncDisposable> {
  const [command = "", ...args] = [...prefix, buildProbe("pingpong"), "server", String(port), "1", String(bytes)];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return {
    async [Symbol.asyncDispose]() {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

/** A connection to the server end, client pinned to processor 0. */
export interface Client extends AsyncDisposable {
  /** Median of so many round trips, in microseconds. */
  measure(): Promise<number>;
}

/** Connects to a server end that knows the same `bytes`. */
export function startClient(prefix: readonly string[], address: string, port: number, { bytes = SMALL, rounds = 20_000 } = {}): Client {
  const options = [address, String(port), "0", String(bytes), String(rounds)];
  const [command = "", ...args] = [...prefix, buildProbe("pingpong"), "client", ...options];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async measure() {
      child.stdin.write("\n");
      const { value, done } = await lines.next();
      if (done) throw new Error(`${command} ${args.join(" ")} has ended`);
      return Number(value) / 1000;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

/** The same for one measurement alone. */
export async function measureRoundTrip(prefix: readonly string[], address: string, port: number): Promise<number> {
  await using client = startClient(prefix, address, port);
  return await client.measure();
}
