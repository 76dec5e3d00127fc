import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { buildProbe } from "./build.ts";

/** Whether a datagram gets from one pod to another, watched all the time. */
export interface Stream extends AsyncDisposable {
  /**
   * Resolves with when the first datagram of the wanted fate was sent, in milliseconds of `performance.now()`'s clock; at once
   * when the stream is as wanted already. Rejects after ten seconds.
   */
  turned(wanted: "allowed" | "denied"): Promise<number>;
}

/** Starts the stream between two network namespaces, given by their files: a datagram every `intervalUs`. */
export function startStream(from: string, to: string, address: string, port: number, intervalUs: number): Stream {
  const args = [from, to, address, String(port), String(intervalUs)];
  const child = spawn(buildProbe("stream"), args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let last = { state: "", at: 0 };
  let changed = () => {};
  // Both clocks are CLOCK_MONOTONIC; performance.now() counts from the start of this process.
  const origin = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [state = "", nanoseconds = "0"] = line.split(" ");
    last = { state, at: Number(nanoseconds) / 1e6 - origin };
    changed();
  });
  return {
    async turned(wanted) {
      const limit = AbortSignal.timeout(10_000);
      while (last.state !== wanted) {
        await new Promise<void>((resolve, reject) => {
          changed = resolve;
          limit.addEventListener("abort", () => reject(new Error(`the stream is not ${wanted} after 10 s`)), { once: true });
        });
      }
      return last.at;
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await exited;
    },
  };
}
