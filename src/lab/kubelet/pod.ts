import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Container } from "kubernetes-types/core/v1.js";
import { sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { aborted } from "#runtime/scope.ts";
import { type Cluster, hasStatus, unlessGone } from "../cluster.ts";
import { timestamp } from "../controllers/status.ts";
import { recordEvent } from "../events.ts";
import { findImage, imageNames } from "../images/images.ts";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { paths } from "../paths.ts";
import { readNetworkList } from "./cni.ts";
import { type ContainerRecord, newRecord, type Run, startRun, terminatedState } from "./container.ts";
import { type Command, commandOf } from "./environment.ts";
import { makePodSandbox, type PodSandbox, removePodFiles, removePodSandbox, updateHostsFile, writeEtcFiles } from "./pod-sandbox.ts";
import { podStatus } from "./pod-status.ts";
import { hasPreStop, runPreStop } from "./pre-stop.ts";
import { startProbes } from "./probes.ts";
import { resolvConf } from "./resolv-conf.ts";
import { type Identities, makeVolumes } from "./volumes.ts";

export interface PodDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
  readonly host: NodeHost;
  readonly identities: Identities;
}

const RETRY_MS = { first: 200, longest: 5_000 } as const;
const RESTART_MS = { first: 1_000, longest: 300_000, forgottenAfter: 600_000 } as const;
const DEFAULT_GRACE_SECONDS = 30;
const NOTICE_MS = 500;
/** What a container gets when its hook has used the grace period up, as from the kubelet. */
const LEAST_GRACE_SECONDS = 2;

/** One pod on this node, from its sandbox to its last status. */
export class PodWorker {
  readonly #deps: PodDeps;
  readonly #main: ContainerRecord[];
  readonly #init: ContainerRecord[];
  readonly #stop = new AbortController();
  readonly #endings = new WeakMap<Run, Promise<void>>();
  readonly #commands = new Map<string, Command>();
  readonly #startTime = timestamp();
  readonly #done: Promise<void>;
  #pod: Pod;
  #sandbox: PodSandbox | undefined;
  #initialized = false;
  #publishing = false;
  #graceSeconds = DEFAULT_GRACE_SECONDS;

  constructor(deps: PodDeps, pod: Pod) {
    this.#deps = deps;
    this.#pod = pod;
    this.#main = pod.spec.containers.map((container) => newRecord(container, pod.metadata.uid));
    this.#init = (pod.spec.initContainers ?? []).map((container) => newRecord(container, pod.metadata.uid));
    this.#done = this.#live().catch((thrown: unknown) => {
      deps.log.error("pod worker failed", { pod: pod.metadata.name, error: errorMessage(thrown) });
    });
  }

  get pod(): Pod {
    return this.#pod;
  }

  get sandbox(): PodSandbox | undefined {
    return this.#sandbox;
  }

  /** The container of this name, or the first. */
  record(name: string): ContainerRecord | undefined {
    return [...this.#main, ...this.#init].find((record) => record.container.name === name) ?? (name === "" ? this.#main[0] : undefined);
  }

  records(): readonly ContainerRecord[] {
    return [...this.#init, ...this.#main];
  }

  /** Directory, environment: what a command executed in this container starts with. */
  command(name: string): Command | undefined {
    return this.#commands.get(name);
  }

  /** The pod changed: a deletion stops it, changed ConfigMaps reach its volumes. */
  update(pod: Pod): void {
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp && !this.#stop.signal.aborted) {
      this.#graceSeconds = pod.metadata.deletionGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
      this.#stop.abort();
    }
  }

  /** Brings ConfigMaps and Secrets that are mounted up to date. */
  refreshVolumes(): void {
    if (!this.#sandbox || this.#stop.signal.aborted) return;
    try {
      makeVolumes(this.#deps, this.#pod);
    } catch (thrown) {
      this.#deps.log.warn("could not refresh volumes", { pod: this.#pod.metadata.name, error: errorMessage(thrown) });
    }
  }

  /** Ends the pod at once, without a word to the API server: it knows already, or there is none any more. */
  async kill(): Promise<void> {
    this.#graceSeconds = 0;
    this.#stop.abort();
    await this.#done;
  }

  async #live(): Promise<void> {
    const mirror = this.#pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
    if (mirror) await this.#pretend();
    else await this.#run();
    await this.#end();
  }

  // Control plane components are parts of the lab's own process; their pods are only shown.
  async #pretend(): Promise<void> {
    this.#initialized = true;
    for (const record of this.#main) {
      record.state = { running: { startedAt: this.#startTime } };
      record.ready = record.started = true;
    }
    this.#publish();
    await aborted(this.#stop.signal);
  }

  async #run(): Promise<void> {
    this.#publish();
    await this.#makeSandbox();
    for (const record of this.#init) {
      if (!(await this.#runInit(record))) break;
    }
    if (this.#stop.signal.aborted) return;
    this.#initialized = this.#init.every((record) => record.state.terminated?.exitCode === 0);
    if (this.#initialized) await Promise.all(this.#main.map((record) => this.#supervise(record)));
    this.#publish();
    // A finished pod stays, for its logs, until it is deleted.
    await aborted(this.#stop.signal);
  }

  async #makeSandbox(): Promise<void> {
    const { host } = this.#deps;
    for (let wait: number = RETRY_MS.first; !this.#stop.signal.aborted; wait = Math.min(wait * 2, RETRY_MS.longest)) {
      const list = readNetworkList(host);
      try {
        if (!list && !this.#pod.spec.hostNetwork) {
          this.#event(
            "Warning",
            "NetworkNotReady",
            "network is not ready: container runtime network not ready: cni plugin not initialized",
          );
          await sleep(RETRY_MS.first, this.#stop.signal);
          wait = RETRY_MS.first;
          continue;
        }
        const volumes = makeVolumes(this.#deps, this.#pod);
        const files = this.#pod.spec.hostNetwork ? [] : writeEtcFiles(this.#pod, resolvConf(host, this.#pod));
        this.#sandbox = await makePodSandbox(host, this.#pod, [...files, ...volumes], list);
        if (!this.#pod.spec.hostNetwork) updateHostsFile(this.#pod, this.#sandbox.ips[0] ?? "");
        this.#publish();
        return;
      } catch (thrown) {
        const cni = (thrown as { code?: unknown }).code === "cni";
        const reason = cni ? "FailedCreatePodSandBox" : "FailedMount";
        this.#event("Warning", reason, `${cni ? "Failed to create pod sandbox: " : ""}${errorMessage(thrown)}`);
        await sleep(wait, this.#stop.signal);
      }
    }
  }

  async #runInit(record: ContainerRecord): Promise<boolean> {
    // A sidecar is an init container that keeps running beside the others.
    if (record.container.restartPolicy === "Always") {
      void this.#supervise(record);
      return true;
    }
    while (!this.#stop.signal.aborted) {
      const code = await this.#once(record);
      if (code === 0) return true;
      if (code !== undefined && this.#pod.spec.restartPolicy === "Never") return false;
      await this.#backOff(record);
    }
    return false;
  }

  // Runs a container again and again, as the restart policy says, until it is done or the pod is stopped.
  async #supervise(record: ContainerRecord): Promise<void> {
    const policy = record.container.restartPolicy ?? this.#pod.spec.restartPolicy ?? "Always";
    while (!this.#stop.signal.aborted) {
      const code = await this.#once(record);
      if (code !== undefined && (policy === "Never" || (policy === "OnFailure" && code === 0))) return;
      if (!this.#stop.signal.aborted) await this.#backOff(record);
    }
  }

  async #backOff(record: ContainerRecord): Promise<void> {
    const exit = record.state.terminated;
    if (exit) {
      record.lastState = record.state;
      record.restarts++;
      const lasted = Date.parse(exit.finishedAt ?? "") - Date.parse(exit.startedAt ?? "");
      // The first restart is immediate, as is one after a long run.
      if (record.restarts === 1 || lasted > RESTART_MS.forgottenAfter) return;
      const message = `back-off restarting failed container=${record.container.name} pod=${this.#pod.metadata.name}_${this.#pod.metadata.namespace}`;
      record.state = { waiting: { reason: "CrashLoopBackOff", message } };
      this.#event("Warning", "BackOff", message);
    }
    this.#publish();
    const wait = Math.min(RESTART_MS.first * 2 ** Math.min(record.restarts, 12), RESTART_MS.longest);
    await sleep(exit ? wait : RESTART_MS.first, this.#stop.signal);
  }

  // One run of a container. The exit code, or undefined when it could not be started.
  async #once(record: ContainerRecord): Promise<number | undefined> {
    const run = this.#start(record);
    if (!run) return undefined;
    record.run = run;
    record.state = { running: { startedAt: timestamp() } };
    using _probes = this.#probe(record, run);
    this.#publish();
    const stop = () => void this.#stopRun(record, run);
    this.#stop.signal.addEventListener("abort", stop);
    const exit = await run.exited;
    this.#stop.signal.removeEventListener("abort", stop);
    record.state = terminatedState(record.id, exit);
    record.ready = record.started = false;
    this.#publish();
    return exit.code;
  }

  #start(record: ContainerRecord): Run | undefined {
    const { container } = record;
    const image = findImage(container.image ?? "", this.#deps.host.images.kind);
    if (!image) {
      const message = `failed to pull image "${container.image}": the lab has no such image; it has: ${imageNames().join(", ")}`;
      record.state = {
        waiting: { reason: record.state.waiting?.reason === "ErrImagePull" ? "ImagePullBackOff" : "ErrImagePull", message },
      };
      this.#event("Warning", "Failed", message);
      return undefined;
    }
    try {
      const command = commandOf(this.#deps.cluster, this.#podWithAddress(), container, image);
      this.#commands.set(container.name, command);
      if (!this.#sandbox) return undefined;
      const run = startRun({
        sandbox: this.#sandbox.sandbox,
        podCgroup: this.#sandbox.cgroup,
        container,
        command,
        logPath: this.#logPath(container, record.restarts),
      });
      this.#event("Normal", "Started", `Started container ${container.name}`);
      return run;
    } catch (thrown) {
      record.state = { waiting: { reason: "CreateContainerConfigError", message: errorMessage(thrown) } };
      this.#event("Warning", "Failed", `Error: ${errorMessage(thrown)}`);
      return undefined;
    }
  }

  // The downward API shows addresses that our copy of the pod may not have yet.
  #podWithAddress(): Pod {
    const [podIP = "", ...more] = this.#sandbox?.ips ?? [];
    const { ipv4 } = this.#deps.host.config;
    return {
      ...this.#pod,
      status: { ...this.#pod.status, podIP, podIPs: [podIP, ...more].map((ip) => ({ ip })), hostIP: ipv4, hostIPs: [{ ip: ipv4 }] },
    };
  }

  #logPath(container: Container, restarts: number): string {
    const { namespace, name, uid } = this.#pod.metadata;
    return join(paths.logs, `${namespace}_${name}_${uid}`, container.name, `${restarts}.log`);
  }

  /** The log file of a run before the present one. */
  previousLogPath(record: ContainerRecord): string {
    return this.#logPath(record.container, record.restarts - 1);
  }

  #probe(record: ContainerRecord, run: Run): Disposable {
    const { container } = record;
    const command = this.#commands.get(container.name);
    if (!this.#sandbox || !command) return { [Symbol.dispose]: () => undefined };
    const { sandbox, cgroup, ips } = this.#sandbox;
    const target = { host: this.#deps.host, container, command, sandbox, podCgroup: cgroup, ip: ips[0] ?? "127.0.0.1" };
    return startProbes(target, {
      started: () => {
        record.started = true;
        this.#publish();
      },
      ready: (ready) => {
        if (record.ready === ready) return;
        record.ready = ready;
        this.#publish();
      },
      failed: (kind, message) => this.#event("Warning", "Unhealthy", `${kind} probe failed: ${message}`),
      unhealthy: (kind) => {
        this.#event("Normal", "Killing", `Container ${container.name} failed ${kind.toLowerCase()} probe, will be restarted`);
        void run.stop(this.#pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS);
      },
    });
  }

  /** Ends a run: first what the container wants done before, within the grace period. Asked again it is the same end. */
  #stopRun(record: ContainerRecord, run: Run): Promise<void> {
    if (this.#graceSeconds === 0) return run.stop(0);
    const ending = this.#endings.get(run) ?? this.#stopNow(record, run);
    this.#endings.set(run, ending);
    return ending;
  }

  async #stopNow({ container }: ContainerRecord, run: Run): Promise<void> {
    const command = this.#commands.get(container.name);
    const started = performance.now();
    if (this.#graceSeconds > 0 && command && this.#sandbox && hasPreStop(container)) {
      const { sandbox, cgroup } = this.#sandbox;
      await Promise.race([runPreStop({ container, command, sandbox, podCgroup: cgroup }, this.#graceSeconds), run.exited]).catch((thrown) =>
        this.#event("Warning", "FailedPreStopHook", `PreStopHook failed: ${errorMessage(thrown)}`),
      );
    }
    // The endpoints lose the pod at the moment that we hear of its end; on other clusters the runtime takes about as long.
    if (this.#graceSeconds > 1) await Promise.race([sleep(NOTICE_MS), run.exited]);
    const left = this.#graceSeconds - (performance.now() - started) / 1000;
    await run.stop(Math.max(left, Math.min(this.#graceSeconds, LEAST_GRACE_SECONDS)));
  }

  async #end(): Promise<void> {
    const records = [...this.#main, ...this.#init];
    await Promise.all(records.map((record) => (record.run ? this.#stopRun(record, record.run) : undefined)));
    if (this.#sandbox) await removePodSandbox(this.#deps.host, this.#sandbox);
    this.#sandbox = undefined;
    await removePodFiles(this.#pod);
    const { name, namespace, uid } = this.#pod.metadata;
    unlessGone(() => {
      const current = this.#deps.cluster.get<Pod>("pods", name, namespace);
      if (current?.metadata.uid === uid && current.metadata.deletionTimestamp) {
        this.#deps.cluster.delete("pods", name, namespace, { gracePeriodSeconds: 0, uid });
      }
    });
  }

  // Many changes of one moment are one write.
  #publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    setImmediate(() => {
      this.#publishing = false;
      this.#writeStatus();
    });
  }

  #writeStatus(): void {
    const { cluster, host, log } = this.#deps;
    const { name, namespace, uid } = this.#pod.metadata;
    const current = cluster.get<Pod>("pods", name, namespace);
    if (current?.metadata.uid !== uid) return;
    const state = {
      init: this.#init,
      main: this.#main,
      initialized: this.#initialized,
      ips: this.#ips(),
      startTime: this.#startTime,
      sandboxReady: this.#sandbox !== undefined,
    };
    const status = JSON.parse(JSON.stringify(podStatus(host, current, state))) as Pod["status"];
    if (isDeepStrictEqual(current.status, status)) return;
    try {
      cluster.update("pods", { ...current, status }, { subresource: "status" });
    } catch (thrown) {
      if (!hasStatus(thrown, 404, 409))
        log.warn("could not write the pod's status", { pod: `${namespace}/${name}`, error: errorMessage(thrown) });
    }
  }

  #ips(): readonly string[] {
    if (this.#sandbox) return this.#sandbox.ips;
    const mirror = this.#pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
    return mirror ? [this.#deps.host.config.ipv4] : [];
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    recordEvent(this.#deps.cluster, { component: "kubelet", host: this.#deps.host.config.name }, this.#pod, type, reason, message);
  }
}
