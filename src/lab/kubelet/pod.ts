import { isDeepStrictEqual } from "node:util";
import { sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { aborted } from "#runtime/scope.ts";
import { type Cluster, hasStatus, unlessGone } from "../cluster.ts";
import { timestamp } from "../controllers/status.ts";
import { recordEvent } from "../events.ts";
import type { NodeHost } from "../node-host.ts";
import type { Pod } from "../objects.ts";
import { readNetworkList } from "./cni.ts";
import { type ContainerPod, ContainerWorker, DEFAULT_GRACE_SECONDS } from "./container-worker.ts";
import { makePodSandbox, type PodSandbox, removePodFiles, removePodSandbox, updateHostsFile, writeEtcFiles } from "./pod-sandbox.ts";
import { podStatus } from "./pod-status.ts";
import { resolvConf } from "./resolv-conf.ts";
import { type Identities, makeVolumes } from "./volumes.ts";

export interface PodDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
  readonly host: NodeHost;
  readonly identities: Identities;
}

const RETRY_MS = { first: 200, longest: 5_000 } as const;

/** One pod on this node, from its sandbox to its last status. */
export class PodWorker implements ContainerPod {
  readonly deps: PodDeps;
  readonly #main: readonly ContainerWorker[];
  readonly #init: readonly ContainerWorker[];
  readonly #stop = new AbortController();
  readonly #startTime = timestamp();
  readonly #done: Promise<void>;
  #pod: Pod;
  #sandbox: PodSandbox | undefined;
  #initialized = false;
  #publishing = false;
  #graceSeconds = DEFAULT_GRACE_SECONDS;

  constructor(deps: PodDeps, pod: Pod) {
    this.deps = deps;
    this.#pod = pod;
    this.#main = pod.spec.containers.map((container) => new ContainerWorker(this, container));
    this.#init = (pod.spec.initContainers ?? []).map((container) => new ContainerWorker(this, container));
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

  get stopping(): AbortSignal {
    return this.#stop.signal;
  }

  get graceSeconds(): number {
    return this.#graceSeconds;
  }

  /** Init containers first, as they are started. */
  get containers(): readonly ContainerWorker[] {
    return [...this.#init, ...this.#main];
  }

  /** The container of this name; the first of the pod's own for an empty one. */
  container(name: string): ContainerWorker | undefined {
    return name === "" ? this.#main[0] : this.containers.find(({ record }) => record.container.name === name);
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
      makeVolumes(this.deps, this.#pod);
    } catch (thrown) {
      this.deps.log.warn("could not refresh volumes", { pod: this.#pod.metadata.name, error: errorMessage(thrown) });
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
    for (const { record } of this.#main) {
      record.state = { running: { startedAt: this.#startTime } };
      record.ready = record.started = true;
    }
    this.publish();
    await aborted(this.#stop.signal);
  }

  async #run(): Promise<void> {
    this.publish();
    await this.#makeSandbox();
    for (const container of this.#init) {
      if (!(await container.initialize())) break;
    }
    if (this.#stop.signal.aborted) return;
    this.#initialized = this.#init.every(({ record }) => record.state.terminated?.exitCode === 0);
    if (this.#initialized) await Promise.all(this.#main.map((container) => container.supervise()));
    this.publish();
    // A finished pod stays, for its logs, until it is deleted.
    await aborted(this.#stop.signal);
  }

  async #makeSandbox(): Promise<void> {
    const { host } = this.deps;
    for (let wait: number = RETRY_MS.first; !this.#stop.signal.aborted; wait = Math.min(wait * 2, RETRY_MS.longest)) {
      const list = readNetworkList(host);
      try {
        if (!list && !this.#pod.spec.hostNetwork) {
          this.event("Warning", "NetworkNotReady", "network is not ready: container runtime network not ready: cni plugin not initialized");
          await sleep(RETRY_MS.first, this.#stop.signal);
          wait = RETRY_MS.first;
          continue;
        }
        const volumes = makeVolumes(this.deps, this.#pod);
        const files = this.#pod.spec.hostNetwork ? [] : writeEtcFiles(this.#pod, resolvConf(host, this.#pod));
        this.#sandbox = await makePodSandbox(host, this.#pod, [...files, ...volumes], list);
        if (!this.#pod.spec.hostNetwork) updateHostsFile(this.#pod, this.#sandbox.ips[0] ?? "");
        this.publish();
        return;
      } catch (thrown) {
        const cni = (thrown as { code?: unknown }).code === "cni";
        const reason = cni ? "FailedCreatePodSandBox" : "FailedMount";
        this.event("Warning", reason, `${cni ? "Failed to create pod sandbox: " : ""}${errorMessage(thrown)}`);
        await sleep(wait, this.#stop.signal);
      }
    }
  }

  async #end(): Promise<void> {
    await Promise.all(this.containers.map((container) => container.stop()));
    if (this.#sandbox) await removePodSandbox(this.deps.host, this.#sandbox);
    this.#sandbox = undefined;
    await removePodFiles(this.#pod);
    const { name, namespace, uid } = this.#pod.metadata;
    unlessGone(() => {
      const current = this.deps.cluster.get<Pod>("pods", name, namespace);
      if (current?.metadata.uid === uid && current.metadata.deletionTimestamp) {
        this.deps.cluster.delete("pods", name, namespace, { gracePeriodSeconds: 0, uid });
      }
    });
  }

  /** Writes the pod's status soon: many changes of one moment are one write. */
  publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    setImmediate(() => {
      this.#publishing = false;
      this.#writeStatus();
    });
  }

  #writeStatus(): void {
    const { cluster, host, log } = this.deps;
    const { name, namespace, uid } = this.#pod.metadata;
    const current = cluster.get<Pod>("pods", name, namespace);
    if (current?.metadata.uid !== uid) return;
    const state = {
      init: this.#init.map(({ record }) => record),
      main: this.#main.map(({ record }) => record),
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
    return mirror ? [this.deps.host.config.ipv4] : [];
  }

  /** Says something of the pod, as `kubectl describe` shows it. */
  event(type: "Normal" | "Warning", reason: string, message: string): void {
    recordEvent(this.deps.cluster, { component: "kubelet", host: this.deps.host.config.name }, this.#pod, type, reason, message);
  }
}
