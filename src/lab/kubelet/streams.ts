import { existsSync } from "node:fs";
import { type Duplex, PassThrough, type Readable } from "node:stream";
import { ApiError } from "#apiserver/errors.ts";
import type { PodStreams, StreamSession } from "#apiserver/streams/pod-streams.ts";
import type { Pod } from "../objects.ts";
import { runPiped } from "../process/sandbox.ts";
import { containerCgroup, type Run, resizeTerminal } from "./container.ts";
import { openContainerLog } from "./container-log.ts";
import { dial } from "./dial.ts";
import type { Kubelet } from "./kubelet.ts";
import type { PodWorker } from "./pod.ts";

type ExecRequest = Parameters<PodStreams["exec"]>[0];
type AttachRequest = Parameters<PodStreams["attach"]>[0];
type LogRequest = Parameters<PodStreams["logs"]>[0];

/** `kubectl exec`, `attach`, `logs` and `port-forward` for the pods of these kubelets. */
export function createPodStreams(kubelets: readonly Kubelet[]): PodStreams {
  const workerOf = (subject: unknown): PodWorker => {
    const pod = subject as Pod;
    const worker = kubelets.map((kubelet) => kubelet.worker(pod)).find((one) => one !== undefined);
    if (!worker) throw badRequest(`pod ${pod.metadata.namespace}/${pod.metadata.name} does not run on any node`);
    return worker;
  };
  return {
    exec: async (request) => exec(workerOf(request.pod), request),
    attach: async (request) => attach(workerOf(request.pod), request),
    logs: async (request) => logs(workerOf(request.pod), request),
    portForward: async ({ pod, port }) => forward(workerOf(pod), port),
  };
}

function exec(worker: PodWorker, request: ExecRequest): StreamSession {
  const container = worker.container(request.container ?? "");
  const { sandbox } = worker;
  if (!sandbox || !container?.record.state.running) throw notRunning(worker, request.container);
  const { command } = container;
  const { child, stdout, stderr, closed } = runPiped(
    {
      sandbox: sandbox.sandbox,
      cgroup: containerCgroup(sandbox.cgroup, container.record.container.name),
      directory: command?.directory ?? "/",
      env: { ...command?.env, ...(request.tty ? { TERM: "xterm" } : {}) },
      ...(request.tty ? { terminal: { rows: 24, columns: 80 } } : {}),
      stdin: request.stdin,
    },
    request.command,
  );
  if (request.tty) stderr.resume();
  return {
    ...(child.stdin ? { stdin: child.stdin } : {}),
    stdout,
    ...(request.tty ? {} : { stderr }),
    exit: closed.then((code) => ({ code })),
    resize: (size) => resizeTerminal(child, size),
    // A client that went away must not leave its command running.
    close: () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      for (const stream of [stdout, stderr]) stream.destroy();
    },
  };
}

function attach(worker: PodWorker, request: AttachRequest): StreamSession {
  const record = worker.container(request.container ?? "")?.record;
  const run = record?.run;
  const early = run?.early?.take();
  // kubectl shows the log instead; with early output it gets all that there was.
  if (!record || !run || !(record.state.running || early)) throw notRunning(worker, request.container);
  const copy = (source: Readable, before: Buffer | undefined) => {
    const stream = new PassThrough();
    if (before?.length) stream.write(before);
    const pass = (chunk: Buffer) => void stream.write(chunk);
    source.on("data", pass);
    source.once("end", () => stream.end());
    if (source.readableEnded || source.destroyed) stream.end();
    stream.once("close", () => source.off("data", pass));
    return stream;
  };
  const stdin = request.stdin ? inputOf(run, record.container.stdinOnce === true) : undefined;
  return {
    ...(stdin ? { stdin } : {}),
    ...(request.stdout ? { stdout: copy(run.stdout, early?.stdout) } : {}),
    ...(request.stderr && !request.tty ? { stderr: copy(run.stderr, early?.stderr) } : {}),
    exit: run.exited.then(({ code }) => ({ code })),
    resize: (size) => run.resize(size),
    close: () => {
      if (record.container.stdinOnce) run.stdin?.end();
    },
  };
}

// The end of one client's input is the end of the container's only when the pod says so.
function inputOf(run: Run, once: boolean): PassThrough {
  const stream = new PassThrough();
  if (run.stdin) stream.pipe(run.stdin, { end: once });
  return stream;
}

function logs(worker: PodWorker, request: LogRequest): Readable {
  const container = worker.container(request.container ?? "");
  if (!container) throw notRunning(worker, request.container);
  const { record } = container;
  const where = `container "${record.container.name}" in pod "${worker.pod.metadata.name}"`;
  if (!request.previous) {
    if (!record.run) throw badRequest(`${where} is waiting to start: ${record.state.waiting?.reason ?? ""}`);
    return record.run.log.read(request);
  }
  const path = container.previousLogPath;
  if (!existsSync(path)) throw badRequest(`previous terminated ${where} not found`);
  const log = openContainerLog(path);
  log.end();
  return log.read(request);
}

function forward(worker: PodWorker, port: number): Promise<Duplex> {
  const { sandbox } = worker;
  if (!sandbox) throw notRunning(worker, "");
  return new Promise((resolve, reject) => {
    const socket = dial(`/proc/${sandbox.sandbox.pid}/ns/net`, "127.0.0.1", port);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

function notRunning(worker: PodWorker, container: string | undefined): ApiError {
  const { namespace, name } = worker.pod.metadata;
  return badRequest(`container ${container ? `"${container}" ` : ""}of pod ${namespace}/${name} is not running`);
}

function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}
