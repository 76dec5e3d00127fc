import { type ChildProcess, spawn } from "node:child_process";
import type { Logger } from "#runtime/logger.ts";
import { flattenSockets, type ProxySockets } from "./sockets.ts";

/** What supervisor and worker say to each other. A worker that is `ready` waits; at `go` it serves, says so, and at `release` it takes nothing new. */
export type WorkerMessage = "ready" | "go" | "serving" | "release" | "released";

/** Set for workers: how many of their descriptors, from `FIRST_FD` on, are the proxy's sockets. */
export const WORKER_ENV = "CILIUM_PROXY_WORKER";
/** After standard streams and the channel to the supervisor. */
export const FIRST_FD = 4;

export interface SupervisorDeps {
  readonly log: Logger;
  readonly sockets: ProxySockets;
  /** Program and arguments of a worker. */
  readonly command: readonly string[];
  /** Called with true when a worker serves. */
  readonly onActive?: (pid: number) => void;
}

/** A worker that dies this soon is not replaced before the pause is over. */
const TOO_SOON_MS = 1000;

/**
 * Holds the sockets that the kernel redirects to, and has two workers: one serves, one waits with its program loaded. When the first dies the second goes
 * on at once with the same sockets; what came meanwhile has waited in them.
 */
export interface Supervisor {
  /** A new worker, of the program as it is now, takes over; the present one finishes what it has begun. */
  upgrade(): void;
  /** Ends the workers; resolves when they are gone. */
  stop(): Promise<void>;
}

interface Worker {
  readonly child: ChildProcess;
  readonly started: number;
  ready: boolean;
}

export function startSupervisor({ log, sockets, command, onActive }: SupervisorDeps): Supervisor {
  const workers = new Set<Worker>();
  let active: Worker | undefined;
  let standby: Worker | undefined;
  let stopping = false;
  let wanted = true;

  const say = (worker: Worker, message: WorkerMessage) => {
    if (worker.child.connected) worker.child.send(message);
  };
  const prepare = () => {
    const [program = "", ...args] = command;
    const fds = flattenSockets(sockets);
    const env = { ...process.env, [WORKER_ENV]: String(fds.length) };
    const child = spawn(program, args, { env, stdio: ["ignore", "inherit", "inherit", "ipc", ...fds] });
    const worker: Worker = { child, started: performance.now(), ready: false };
    workers.add(worker);
    standby = worker;
    child.on("message", (message) => hear(worker, message as WorkerMessage));
    child.on("error", (error) => log.error("worker cannot be started", { error: error.message }));
    child.on("exit", (code, signal) => gone(worker, code, signal));
  };
  const promote = () => {
    if (!wanted || !standby?.ready || stopping) return;
    [active, standby] = [standby, undefined];
    wanted = false;
    say(active, "go");
    if (active.child.pid !== undefined) onActive?.(active.child.pid);
  };
  const hear = (worker: Worker, message: WorkerMessage) => {
    if (message === "ready") worker.ready = true;
    // Not before: loading a program would take the processor from the one that is taking over.
    if (message === "serving" && standby === undefined && !stopping) prepare();
    if (message === "released" && worker === active) [active, wanted] = [undefined, true];
    promote();
  };
  const gone = (worker: Worker, code: number | null, signal: string | null) => {
    workers.delete(worker);
    if (stopping) return;
    if (worker === active) {
      log.error("the serving worker ended, the waiting one takes over", { pid: worker.child.pid, code, signal });
      [active, wanted] = [undefined, true];
      if (standby === undefined) return prepareLater(worker);
    }
    if (worker !== standby) return promote();
    standby = undefined;
    log.error("the waiting worker ended", { pid: worker.child.pid, code, signal });
    prepareLater(worker);
  };
  const prepareLater = (worker: Worker) => {
    const pause = performance.now() - worker.started < TOO_SOON_MS ? TOO_SOON_MS : 0;
    setTimeout(() => {
      if (!stopping && standby === undefined) prepare();
    }, pause);
  };
  prepare();
  return {
    upgrade() {
      const former = standby;
      const old = active;
      if (old === undefined) return;
      log.info("a new worker takes over", { from: old.child.pid });
      prepare();
      former?.child.kill("SIGKILL");
      const next = standby;
      next?.child.once("message", () => say(old, "release"));
    },
    async stop() {
      stopping = true;
      const ended = [...workers].map(({ child }) => new Promise((resolve) => child.once("exit", resolve)));
      for (const { child } of workers) child.kill("SIGTERM");
      await Promise.all(ended);
    },
  };
}
