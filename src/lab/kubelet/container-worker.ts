import { join } from "node:path";
import type { Container } from "kubernetes-types/core/v1.js";
import { sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import { timestamp } from "../controllers/status.ts";
import { findImage, imageNames } from "../images/images.ts";
import type { Pod } from "../objects.ts";
import { paths } from "../paths.ts";
import { type ContainerRecord, newRecord, type Run, startRun, terminatedState } from "./container.ts";
import { type Command, commandOf } from "./environment.ts";
import type { PodDeps } from "./pod.ts";
import type { PodSandbox } from "./pod-sandbox.ts";
import { hasPreStop, runPreStop } from "./pre-stop.ts";
import { startProbes } from "./probes.ts";

/** What a container needs of its pod. */
export interface ContainerPod {
  readonly deps: PodDeps;
  readonly pod: Pod;
  readonly sandbox: PodSandbox | undefined;
  /** Aborted when the pod is to end. */
  readonly stopping: AbortSignal;
  /** What the pod's end may take; 0 for at once. */
  readonly graceSeconds: number;
  /** The state of a container changed. */
  publish(): void;
  event(type: "Normal" | "Warning", reason: string, message: string): void;
}

/** Seconds a pod may take to end unless it says otherwise. */
export const DEFAULT_GRACE_SECONDS = 30;
const RESTART_MS = { first: 1_000, longest: 300_000, forgottenAfter: 600_000 } as const;
const NOTICE_MS = 500;
/** What a container gets when its hook has used the grace period up, as from the kubelet. */
const LEAST_GRACE_SECONDS = 2;

/** One container of a pod: started, probed, started again as the restart policy says, and ended. */
export class ContainerWorker {
  readonly record: ContainerRecord;
  readonly #pod: ContainerPod;
  readonly #endings = new WeakMap<Run, Promise<void>>();
  #command: Command | undefined;

  constructor(pod: ContainerPod, container: Container) {
    this.#pod = pod;
    this.record = newRecord(container, pod.pod.metadata.uid);
  }

  /** Directory, environment: what a command executed in this container starts with. Undefined before the first start. */
  get command(): Command | undefined {
    return this.#command;
  }

  /** The log file of the run before the present one. */
  get previousLogPath(): string {
    return this.#logPath(this.record.restarts - 1);
  }

  /** Runs an init container until it succeeds. False when it failed for good, or the pod ends. */
  async initialize(): Promise<boolean> {
    // A sidecar is an init container that keeps running beside the others.
    if (this.record.container.restartPolicy === "Always") {
      void this.supervise();
      return true;
    }
    while (!this.#pod.stopping.aborted) {
      const code = await this.#once();
      if (code === 0) return true;
      if (code !== undefined && this.#pod.pod.spec.restartPolicy === "Never") return false;
      await this.#backOff();
    }
    return false;
  }

  /** Runs the container again and again, as the restart policy says, until it is done or the pod ends. */
  async supervise(): Promise<void> {
    const policy = this.record.container.restartPolicy ?? this.#pod.pod.spec.restartPolicy ?? "Always";
    while (!this.#pod.stopping.aborted) {
      const code = await this.#once();
      if (code !== undefined && (policy === "Never" || (policy === "OnFailure" && code === 0))) return;
      if (!this.#pod.stopping.aborted) await this.#backOff();
    }
  }

  /** Ends the present run: first what the container wants done before, within the grace period. Asked again it is the same end. */
  stop(): Promise<void> {
    const { run } = this.record;
    if (!run) return Promise.resolve();
    if (this.#pod.graceSeconds === 0) return run.stop(0);
    const ending = this.#endings.get(run) ?? this.#stopNow(run);
    this.#endings.set(run, ending);
    return ending;
  }

  // One run. The exit code, or undefined when it could not be started.
  async #once(): Promise<number | undefined> {
    const { record } = this;
    const run = this.#start();
    if (!run) return undefined;
    record.run = run;
    record.state = { running: { startedAt: timestamp() } };
    using _probes = this.#probe(run);
    this.#pod.publish();
    const stop = () => void this.stop();
    this.#pod.stopping.addEventListener("abort", stop);
    const exit = await run.exited;
    this.#pod.stopping.removeEventListener("abort", stop);
    record.state = terminatedState(record.id, exit);
    record.ready = record.started = false;
    this.#pod.publish();
    return exit.code;
  }

  #start(): Run | undefined {
    const { record } = this;
    const { container } = record;
    const { deps, sandbox } = this.#pod;
    const image = findImage(container.image ?? "", deps.host.images.kind);
    if (!image) {
      const message = `failed to pull image "${container.image}": the lab has no such image; it has: ${imageNames().join(", ")}`;
      const again = record.state.waiting?.reason === "ErrImagePull";
      record.state = { waiting: { reason: again ? "ImagePullBackOff" : "ErrImagePull", message } };
      this.#pod.event("Warning", "Failed", message);
      return undefined;
    }
    try {
      const command = commandOf(deps.cluster, this.#podWithAddress(), container, image);
      this.#command = command;
      if (!sandbox) return undefined;
      const logPath = this.#logPath(record.restarts);
      const run = startRun({ sandbox: sandbox.sandbox, podCgroup: sandbox.cgroup, container, command, logPath });
      this.#pod.event("Normal", "Started", `Started container ${container.name}`);
      return run;
    } catch (thrown) {
      record.state = { waiting: { reason: "CreateContainerConfigError", message: errorMessage(thrown) } };
      this.#pod.event("Warning", "Failed", `Error: ${errorMessage(thrown)}`);
      return undefined;
    }
  }

  async #backOff(): Promise<void> {
    const { record } = this;
    const exit = record.state.terminated;
    if (exit) {
      record.lastState = record.state;
      record.restarts++;
      const lasted = Date.parse(exit.finishedAt ?? "") - Date.parse(exit.startedAt ?? "");
      // The first restart is immediate, as is one after a long run.
      if (record.restarts === 1 || lasted > RESTART_MS.forgottenAfter) return;
      const { name, namespace } = this.#pod.pod.metadata;
      const message = `back-off restarting failed container=${record.container.name} pod=${name}_${namespace}`;
      record.state = { waiting: { reason: "CrashLoopBackOff", message } };
      this.#pod.event("Warning", "BackOff", message);
    }
    this.#pod.publish();
    const wait = Math.min(RESTART_MS.first * 2 ** Math.min(record.restarts, 12), RESTART_MS.longest);
    await sleep(exit ? wait : RESTART_MS.first, this.#pod.stopping);
  }

  #probe(run: Run): Disposable {
    const { record } = this;
    const { container } = record;
    const { deps, sandbox } = this.#pod;
    if (!sandbox || !this.#command) return { [Symbol.dispose]: () => undefined };
    const { cgroup, ips } = sandbox;
    const target = {
      host: deps.host,
      container,
      command: this.#command,
      sandbox: sandbox.sandbox,
      podCgroup: cgroup,
      ip: ips[0] ?? "127.0.0.1",
    };
    return startProbes(target, {
      started: () => {
        record.started = true;
        this.#pod.publish();
      },
      ready: (ready) => {
        if (record.ready === ready) return;
        record.ready = ready;
        this.#pod.publish();
      },
      failed: (kind, message) => this.#pod.event("Warning", "Unhealthy", `${kind} probe failed: ${message}`),
      unhealthy: (kind) => {
        this.#pod.event("Normal", "Killing", `Container ${container.name} failed ${kind.toLowerCase()} probe, will be restarted`);
        void run.stop(this.#pod.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS);
      },
    });
  }

  async #stopNow(run: Run): Promise<void> {
    const { graceSeconds, sandbox } = this.#pod;
    const { container } = this.record;
    const command = this.#command;
    const started = performance.now();
    if (command && sandbox && hasPreStop(container)) {
      const target = { container, command, sandbox: sandbox.sandbox, podCgroup: sandbox.cgroup };
      await Promise.race([runPreStop(target, graceSeconds), run.exited]).catch((thrown) =>
        this.#pod.event("Warning", "FailedPreStopHook", `PreStopHook failed: ${errorMessage(thrown)}`),
      );
    }
    // The endpoints lose the pod at the moment that we hear of its end; on other clusters the runtime takes about as long.
    if (this.#pod.graceSeconds > 1) await Promise.race([sleep(NOTICE_MS), run.exited]);
    // Asked anew: in the meantime the pod may have been told to end at once.
    const grace = this.#pod.graceSeconds;
    const left = grace - (performance.now() - started) / 1000;
    await run.stop(Math.max(left, Math.min(grace, LEAST_GRACE_SECONDS)));
  }

  // The downward API shows addresses that our copy of the pod may not have yet.
  #podWithAddress(): Pod {
    const { pod, sandbox, deps } = this.#pod;
    const [podIP = "", ...more] = sandbox?.ips ?? [];
    const { ipv4 } = deps.host.config;
    return {
      ...pod,
      status: { ...pod.status, podIP, podIPs: [podIP, ...more].map((ip) => ({ ip })), hostIP: ipv4, hostIPs: [{ ip: ipv4 }] },
    };
  }

  #logPath(restarts: number): string {
    const { namespace, name, uid } = this.#pod.pod.metadata;
    return join(paths.logs, `${namespace}_${name}_${uid}`, this.record.container.name, `${restarts}.log`);
  }
}
