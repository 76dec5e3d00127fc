import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { LabConfig } from "./config.ts";
import type { LabReport } from "./control.ts";
import { LabError, needsRoot } from "./errors.ts";
import { removeLeftovers } from "./leftovers.ts";
import { alreadyRunning, isAlive, type LabLock, readRecord, takeLock } from "./lock.ts";
import { WORLD_NETNS } from "./network/fabric.ts";
import { PROJECT, paths, STATE_DIRECTORY } from "./paths.ts";

interface Progress {
  readonly step?: string;
  readonly up?: true;
  readonly error?: string;
  readonly code?: string;
}

/** Starts the lab's daemon, detached, and resolves when its API server serves. Rejects with what the daemon said. */
export async function startDaemon(plan: LabConfig, onStep: (step: string) => void): Promise<void> {
  mkdirSync(STATE_DIRECTORY, { recursive: true });
  const log = openSync(paths.log, "w");
  const program = join(PROJECT, "src/cmd/lab-daemon.ts");
  // The caller's terminal, proxies and kubeconfig are not the lab's.
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: "/root",
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(PROJECT, "build/compile-cache"),
  };
  const args = ["--disable-warning=ExperimentalWarning", program, JSON.stringify(plan)];
  const child = spawn(paths.node, args, { cwd: "/", env, detached: true, stdio: ["ignore", "pipe", log] });
  const { stdout } = child;
  if (!stdout) throw new LabError("boot", "cannot read the daemon's progress");
  let failure: Progress = {};
  for await (const line of createInterface({ input: stdout })) {
    const progress = JSON.parse(line) as Progress;
    if (progress.step) onStep(progress.step);
    if (progress.error) failure = progress;
    if (progress.up) {
      stdout.destroy();
      child.unref();
      return;
    }
  }
  const reason = failure.error ?? `it ended without a word:\n${lastLines(paths.log)}`;
  throw new LabError(failure.code === "running" ? "running" : "boot", reason);
}

function lastLines(path: string): string {
  return readFileSync(path, "utf8").trimEnd().split("\n").slice(-5).join("\n");
}

/** Asks the running lab how it is. Rejects with `LabError` `not-running` when there is none. */
export async function readReport(): Promise<LabReport> {
  const body = await new Promise<string>((resolve, reject) => {
    const asked = request({ socketPath: paths.control, path: "/status", timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks).toString()));
    });
    asked.on("error", (error: NodeJS.ErrnoException) => reject(notAsked(error)));
    asked.on("timeout", () => asked.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    asked.end();
  });
  return JSON.parse(body) as LabReport;
}

/** Why the lab's socket did not answer: only its absence, or nobody behind it, means that there is no lab. */
function notAsked({ code, message }: NodeJS.ErrnoException): LabError {
  if (code === "EACCES" || code === "EPERM") return needsRoot();
  if (code === "ETIMEDOUT")
    return new LabError("not-running", `the lab does not answer; see ${paths.log}, or end it with: cilium lab down`);
  if (code === "ENOENT" || code === "ECONNREFUSED") return new LabError("not-running", "no lab is running; start one with: cilium lab up");
  return new LabError("not-running", `the lab at ${paths.control} cannot be asked: ${message}`);
}

/** Waits until nodes and system pods are ready. Returns the last report either way. */
export async function waitReady(timeoutMs: number, onReport: (report: LabReport) => void): Promise<LabReport> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const report = await readReport();
    onReport(report);
    if (report.ready || Date.now() > deadline) return report;
    await delay(100);
  }
}

const STOP_MS = 10_000;

/** Ends the lab and removes what it made. False when there was none. */
export async function stopLab(): Promise<boolean> {
  const record = readRecord();
  if (!record) return false;
  if (process.getuid?.() !== 0) throw needsRoot();
  if (isAlive(record)) {
    process.kill(record.pid, "SIGTERM");
    for (const deadline = Date.now() + STOP_MS; isAlive(record) && Date.now() < deadline; ) await delay(20);
    if (isAlive(record)) process.kill(record.pid, "SIGKILL");
  }
  using lock = await lockOfDead();
  if (lock.previous) await removeLeftovers(lock.previous.netns);
  lock.clear();
  return true;
}

// A process that was killed takes a moment to let go.
async function lockOfDead(): Promise<LabLock> {
  for (const deadline = Date.now() + STOP_MS; Date.now() < deadline; await delay(20)) {
    const lock = takeLock();
    if (lock) return lock;
  }
  throw alreadyRunning();
}

/** What a shell needs to use the lab: variable → value. */
export function labEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const path = (env.PATH ?? "").split(":").filter((directory) => directory !== paths.bin && directory !== paths.tools);
  return {
    KUBECONFIG: paths.kubeconfig,
    PATH: [paths.bin, paths.tools, ...path].join(":"),
    HUBBLE_SERVER: `unix://${paths.hubble}`,
    WORLD_EXEC: `nsenter --net=/run/netns/${WORLD_NETNS}`,
  };
}
