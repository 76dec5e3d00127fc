import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import { openPipe } from "#sys/pipe.ts";
import { closeFd } from "#sys/socket.ts";
import { LabError } from "../errors.ts";
import { paths } from "../paths.ts";

/** One step of making a sandbox: a verb of `native/sandbox.c` and its words. */
export type Step = readonly [verb: string, ...words: string[]];

/** Namespaces held open by a process that does nothing else. They end with it. */
export interface Sandbox {
  readonly pid: number;
  /** Whether it has a PID namespace of its own: commands then run as children of their helper. */
  readonly pids: boolean;
}

/** Which of a sandbox's namespaces a command enters, and as what it runs there. */
export interface RunOptions {
  readonly sandbox: Sandbox;
  /** Directory of cgroup v2, made if missing. */
  readonly cgroup?: string;
  readonly directory?: string;
  /** Give the command a terminal of this size; further sizes are written to descriptor 3 as `ROWS COLUMNS\n`. */
  readonly terminal?: { readonly rows: number; readonly columns: number };
  readonly env?: Readonly<Record<string, string>>;
  readonly stdio?: SpawnOptions["stdio"];
}

/** Exit codes of `cilia-sandbox run` itself. */
export const EXIT = { setup: 125, notExecutable: 126, notFound: 127 } as const;

/** Makes a sandbox by these steps, in order. Rejects with a `LabError` that says which step the kernel refused. */
export function makeSandbox(steps: readonly Step[]): Promise<Sandbox> {
  const child = spawn(paths.sandbox, ["make"], { stdio: ["pipe", "pipe", "pipe"], env: {}, detached: true });
  let output = "";
  let complaint = "";
  child.stdin.end(steps.map((step) => `${step.join("\t")}\n`).join(""));
  child.stderr.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on("error", (cause) => reject(new LabError("sandbox", `cannot start ${paths.sandbox}`, { cause })));
    child.on("close", () => reject(new LabError("sandbox", complaint.trim() || "the sandbox ended while it was made")));
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const ready = /ready (\d+)\n/.exec(output);
      if (!ready) return;
      child.unref();
      resolve({ pid: Number(ready[1]), pids: steps.some(([verb]) => verb === "pids") });
    });
  });
}

/** Starts a command in the network, mount, UTS and IPC namespaces of a sandbox. */
export function runIn(options: RunOptions, command: readonly string[]): ChildProcess {
  const { cgroup, directory, terminal } = options;
  const args = ["run", "--target", String(options.sandbox.pid), "--net", "--uts", "--mount"];
  if (options.sandbox.pids) args.push("--pid");
  if (cgroup) args.push("--cgroup", cgroup);
  if (directory) args.push("--directory", directory);
  if (terminal) args.push("--tty", `${terminal.rows}x${terminal.columns}`);
  const stdio = options.stdio ?? ["ignore", "pipe", "pipe"];
  return spawn(paths.sandbox, [...args, "--", ...command], { stdio, env: options.env ?? DEFAULT_ENV, detached: true });
}

/** A running command, and its output. */
export interface PipedCommand {
  readonly child: ChildProcess;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Its exit code, when it has ended and all of its output was read. Never rejects. */
  readonly closed: Promise<number>;
}

/** `runIn` with pipes for the output, such as a container has: programs may open /dev/stdout. `stdin`: whether it can be written to. */
export function runPiped(options: Omit<RunOptions, "stdio"> & { readonly stdin: boolean }, command: readonly string[]): PipedCommand {
  const [out, err] = [openPipe(), openPipe()];
  const stdio: SpawnOptions["stdio"] = [options.stdin ? "pipe" : "ignore", out.writeFd, err.writeFd, options.terminal ? "pipe" : "ignore"];
  const child = runIn({ ...options, stdio }, command);
  for (const { writeFd } of [out, err]) closeFd(writeFd);
  child.stdin?.on("error", () => undefined); // it may end without reading
  const [stdout, stderr] = [out, err].map(({ readFd }) => new Socket({ fd: readFd, readable: true, writable: false })) as [Socket, Socket];
  const ended = (stream: Socket) => new Promise<void>((resolve) => stream.once("close", () => resolve()));
  const exited = new Promise<number>((resolve) => {
    child.on("error", () => resolve(EXIT.notExecutable));
    child.on("exit", (code, signal) => resolve(exitCode(code, signal)));
  });
  const closed = Promise.all([exited, ended(stdout), ended(stderr)]).then(([code]) => code);
  return { child, stdout, stderr, closed };
}

export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_ENV = { PATH: DEFAULT_PATH, HOME: "/root" };

/** Runs a command in a sandbox to its end, with `input` on standard input. */
export function captureIn(
  options: Omit<RunOptions, "stdio" | "terminal">,
  command: readonly string[],
  input = "",
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = runIn({ ...options, stdio: ["pipe", "pipe", "pipe"] }, command);
  const output = { stdout: "", stderr: "" };
  child.stdin?.on("error", () => undefined); // it may end without reading
  child.stdin?.end(input);
  child.stdout?.on("data", (chunk: Buffer) => {
    output.stdout += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ ...output, code: exitCode(code, signal) }));
  });
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** The exit code as a shell reports it: 128 + the signal's number for a process that was killed. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (SIGNAL_NUMBERS[signal ?? ""] ?? 0);
}
