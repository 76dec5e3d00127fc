import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { Duplex, Readable, Writable } from "node:stream";
import type { Container, ContainerState, ContainerStatus } from "kubernetes-types/core/v1.js";
import { timestamp } from "../controllers/status.ts";
import { killCgroup, processesOf } from "../process/cgroup.ts";
import { exitCode, runPiped, type Sandbox } from "../process/sandbox.ts";
import { type ContainerLog, openContainerLog } from "./container-log.ts";
import { type EarlyOutput, keepEarlyOutput } from "./early-output.ts";
import type { Command } from "./environment.ts";

/** How a container ended. */
export interface Exit {
  readonly code: number;
  readonly reason: "Completed" | "Error";
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** One run of a container: its process, until it ends. */
export interface Run {
  readonly pid: number;
  readonly log: ContainerLog;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** For the first client of a container whose input is one client's. */
  readonly early?: EarlyOutput;
  readonly exited: Promise<Exit>;
  resize(size: { readonly width: number; readonly height: number }): void;
  /** SIGTERM, and SIGKILL for all of the container after the grace period. Resolves when it has ended. */
  stop(graceSeconds: number): Promise<void>;
}

export interface RunPlan {
  readonly sandbox: Sandbox;
  readonly podCgroup: string;
  readonly container: Container;
  readonly command: Command;
  readonly logPath: string;
}

/** The cgroup of a container's processes. */
export function containerCgroup(podCgroup: string, name: string): string {
  return join(podCgroup, name);
}

/** Starts a container's process; its output goes to the log. */
export function startRun({ sandbox, podCgroup, container, command, logPath }: RunPlan): Run {
  const cgroup = containerCgroup(podCgroup, container.name);
  const startedAt = timestamp();
  const terminal = container.tty ? { terminal: { rows: 24, columns: 80 } } : {};
  const { child, stdout, stderr, closed } = runPiped(
    { sandbox, cgroup, directory: command.directory, env: command.env, ...terminal, stdin: container.stdin === true },
    command.command,
  );
  const log = openContainerLog(logPath);
  stdout.on("data", (chunk: Buffer) => log.append("stdout", chunk));
  stderr.on("data", (chunk: Buffer) => log.append("stderr", chunk));
  void closed.then(() => log.end());
  const exited = new Promise<Exit>((resolve) => {
    const finish = (code: number) => {
      killCgroup(cgroup); // what the main process leaves behind ends with it, as in a PID namespace
      resolve({ code, reason: code === 0 ? "Completed" : "Error", startedAt, finishedAt: timestamp() });
    };
    child.on("error", () => finish(128));
    child.on("exit", (code, signal) => finish(exitCode(code, signal)));
  });
  return {
    pid: child.pid ?? 0,
    log,
    stdin: child.stdin ?? undefined,
    stdout,
    stderr,
    ...(container.stdinOnce ? { early: keepEarlyOutput(stdout, stderr) } : {}),
    exited,
    resize: (size) => resizeTerminal(child, size),
    stop: (graceSeconds) => stopRun(child, cgroup, exited, graceSeconds),
  };
}

/** Tells the helper between us and the terminal its new size. */
export function resizeTerminal(child: ChildProcess, size: { readonly width: number; readonly height: number }): void {
  const control = child.stdio[3] as Duplex | null | undefined;
  // A client that is not on a terminal itself says 0 x 0, and kubectl says one more first to force a redraw: no shell can show its prompt there.
  if (size.height > 1 && size.width > 1 && control?.writable) control.write(`${size.height} ${size.width}\n`);
}

async function stopRun(child: ChildProcess, cgroup: string, exited: Promise<Exit>, graceSeconds: number): Promise<void> {
  if (graceSeconds > 0) {
    for (const pid of child.stdio[3] ? processesOf(cgroup) : [child.pid ?? 0]) signal(pid, "SIGTERM");
    const timer = setTimeout(() => killCgroup(cgroup), graceSeconds * 1000);
    await exited;
    clearTimeout(timer);
    return;
  }
  killCgroup(cgroup);
  await exited;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, name);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ESRCH") throw thrown;
  }
}

/** What is known of a container, from which its status is written. */
export interface ContainerRecord {
  readonly container: Container;
  readonly id: string;
  state: ContainerState;
  lastState: ContainerState;
  restarts: number;
  ready: boolean;
  started: boolean;
  run?: Run;
}

/** A container that has not run yet. */
export function newRecord(container: Container, podUid: string): ContainerRecord {
  const id = `cilia://${podUid}/${container.name}`;
  return { container, id, state: { waiting: { reason: "ContainerCreating" } }, lastState: {}, restarts: 0, ready: false, started: false };
}

/** The terminated state of a run. */
export function terminatedState(id: string, exit: Exit): ContainerState {
  return {
    terminated: { exitCode: exit.code, reason: exit.reason, startedAt: exit.startedAt, finishedAt: exit.finishedAt, containerID: id },
  };
}

/** The record as Kubernetes' status. */
export function containerStatus(record: ContainerRecord): ContainerStatus {
  const image = record.container.image ?? "";
  return {
    name: record.container.name,
    image,
    imageID: record.state.waiting && record.restarts === 0 ? "" : `cilia-image://${image}`,
    ...(record.state.waiting && record.restarts === 0 ? {} : { containerID: record.id }),
    ready: record.ready,
    started: record.started,
    restartCount: record.restarts,
    state: record.state,
    lastState: record.lastState,
  };
}
