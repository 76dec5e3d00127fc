import { addressesOf, type Endpoint, podKey, subjectKey } from "#endpoint/endpoint.ts";
import { forgetEndpoint, loadEndpoints } from "#endpoint/restore.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { sleep } from "#runtime/backoff.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { IpAddress } from "#types/addr.ts";
import { hostPrefix } from "#types/prefix.ts";
import type { AgentConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { createEndpoints, type Endpoints } from "./endpoints.ts";
import type { Kernel } from "./kernel.ts";
import type { PodRow } from "./kubernetes.ts";
import type { Loops } from "./loops.ts";
import type { MonitorHub } from "./monitor-hub.ts";
import type { AgentState } from "./state.ts";

export interface EndpointControl extends Endpoints {
  /** Takes over the endpoints of before the restart that are still there, with the labels their pods have now. */
  restoreAll(): Promise<void>;
  /** Removes endpoints whose interface went without a DEL: their runtime was killed. */
  collectDead(): Promise<void>;
  /** Follows the labels of pods and namespaces from now on. */
  follow(): AsyncDisposable;
}

export class EndpointError extends CodedError {}

export interface EndpointControlDeps {
  readonly log: Logger;
  readonly state: AgentState;
  readonly kernel: Kernel;
  readonly loops: Loops;
  readonly hub: MonitorHub;
  readonly counters: Counters;
  readonly unavailable: () => string | undefined;
  /** Ends what is remembered of connections of an address that will be somebody else's. */
  readonly purge: (address: IpAddress) => Promise<void>;
}

/** Endpoints, tied to the tables, the kernel and the loops. */
export function createEndpointControl(deps: EndpointControlDeps, config: AgentConfig): EndpointControl {
  const { log, state, kernel } = deps;
  const { datapath, netlink } = kernel;
  const endpoints = createEndpoints(
    {
      log,
      table: state.endpoints,
      ipcache: state.ipcache,
      pools: kernel.pools,
      programs: datapath.attachments,
      netlink,
      openNetlink: kernel.openNetlink,
      describe: (pod) => state.pods.describe(pod),
      allocate: (labels) => state.identities.allocate(labels),
      realized: (id, signal) => realized(deps, id, signal),
      purge: deps.purge,
      unavailable: deps.unavailable,
      onEvent: (event, endpoint) => deps.hub.endpoint(event, endpoint),
      onBirth: (ok, seconds) => deps.counters.endpoint(ok ? "created" : "failed", seconds),
    },
    { stateDirectory: config["state-dir"], mtu: () => kernel.mtu, addTimeoutMs: config["cni-add-timeout"] },
  );
  const restoreAll = async () => {
    const { endpoints: saved, broken } = loadEndpoints(config["state-dir"]);
    for (const { path, reason } of broken) log.error("endpoint file not readable, its pod has to be restarted", { path, reason });
    const living = saved.filter((row) => isAlive(row, netlink.link(row.interface.name)));
    const known = new Set<number>(living.map(({ id }) => id));
    for (const { id, pod } of saved) {
      if (known.has(id)) continue;
      log.info("endpoint went while the agent was away", { endpointId: id, pod: podKey(pod) });
      forgetEndpoint(config["state-dir"], id);
    }
    keepStraysShut(deps, living, known);
    const rows = await Promise.all(living.map((row) => refreshed(state, row)));
    state.db.write(() => {
      for (const row of rows) endpoints.restore(row);
    });
    if (rows.length > 0) log.info("endpoints restored", { endpoints: rows.length });
  };
  const collectDead = async () => {
    for (const row of [...state.endpoints.list()]) {
      // One that is being born has its interface before its row, and one that is removed loses its row first.
      if (isAlive(row, netlink.link(row.interface.name))) continue;
      log.warn("endpoint without an interface, removing it", { endpointId: row.id, pod: podKey(row.pod) });
      await endpoints.remove({ containerId: row.containerId, ifname: row.interface.ifname });
    }
  };
  return { ...endpoints, restoreAll, collectDead, follow: () => followLabels({ log, state, endpoints }) };
}

/** A pod's veth, by its name. */
const POD_INTERFACE = /^lxc[0-9a-f]{10}$/;

/**
 * Programs of endpoints that are not restored. While a pod's interface is there that no endpoint owns, such as one whose file
 * cannot be read, they stay attached and drop everything: taking them off would open the pod.
 */
function keepStraysShut({ log, kernel }: EndpointControlDeps, living: readonly Endpoint[], known: ReadonlySet<number>): void {
  const { attachments } = kernel.datapath;
  const owned = new Set(living.map((row) => row.interface.name));
  const strays = kernel.netlink.links().filter(({ name }) => POD_INTERFACE.test(name) && !owned.has(name));
  const unknown = attachments.endpoints().filter((id) => !known.has(id));
  if (strays.length === 0) {
    for (const id of unknown) attachments.removeEndpoint(id);
    attachments.removeOrphans();
    return;
  }
  for (const id of unknown) attachments.orphanEndpoint(id);
  log.error("pod interfaces without an endpoint: they stay cut off until their pods are restarted", {
    interfaces: strays.map(({ name }) => name),
  });
}

/** Everything a packet of the endpoint meets is in the kernel. */
async function realized({ state, loops }: EndpointControlDeps, id: number, signal: AbortSignal): Promise<void> {
  await loops.reconcilers.endpoints.rowReconciled(id, signal);
  const row = state.endpoints.get(id);
  if (row) await loops.reconcilers.policies.rowReconciled(subjectKey(row), signal);
  for (const address of row ? addressesOf(row) : []) await loops.reconcilers.ipcache.rowReconciled(hostPrefix(address), signal);
  const policy = loops.policyMaps.realized(id);
  if (policy?.locked === undefined && policy !== undefined) return;
  throw new EndpointError(
    "policy-not-realized",
    `the policy of endpoint ${id} is not in the kernel: ${policy?.locked ?? "nothing known of it"}`,
  );
}

/** The interface is the one we made, and not one that got its name or number since. */
function isAlive(row: Endpoint, link: { readonly index: number; readonly mac?: string | undefined } | undefined): boolean {
  return link !== undefined && link.index === row.interface.index && (link.mac === undefined || link.mac === row.interface.hostMac);
}

/** The endpoint with its pod's present labels, ready. A pod the API server no longer has keeps its last ones until its DEL. */
async function refreshed(state: AgentState, row: Endpoint): Promise<Endpoint> {
  const view = state.pods.pods.get(podKey(row.pod));
  const isSamePod = view !== undefined && (row.pod.uid === "" || view.uid === row.pod.uid);
  const labels = (isSamePod ? state.pods.labelsOf(view) : undefined) ?? row.labels;
  const identity = await state.identities.allocate(labels);
  const named = isSamePod ? { namedPorts: view.namedPorts, serviceAccount: view.serviceAccount } : {};
  return { ...row, ...named, labels, identity, state: "ready" };
}

const RETRY_MS = 500;

/** Pod and namespace labels → identities of our endpoints. One at a time; one that fails is tried again, and keeps no other waiting. */
function followLabels({ log, state, endpoints }: { log: Logger; state: AgentState; endpoints: Endpoints }): AsyncDisposable {
  const controller = new AbortController();
  const { signal } = controller;
  using changes = new DisposableStack();
  const pods = changes.use(state.pods.pods.observe());
  const namespaces = changes.use(state.pods.namespaces.observe());
  const born = changes.use(state.endpoints.observe());
  const held = changes.move();
  let wake = Promise.withResolvers<void>();
  for (const observer of [pods, namespaces, born]) observer.onReady(() => wake.resolve());

  const stale = (): { row: Endpoint; view: PodRow; labels: LabelSet }[] =>
    [...state.endpoints.list()].flatMap((row) => {
      const view = state.pods.pods.get(podKey(row.pod));
      if (!view || view.uid !== row.pod.uid || row.state !== "ready") return [];
      const labels = state.pods.labelsOf(view);
      return labels && labels.key !== row.labels.key ? [{ row, view, labels }] : [];
    });
  /** Whether all endpoints have their present labels now. */
  const round = async (): Promise<boolean> => {
    // Names of namespaces, and of pods with theirs: no name of one is a name of the other.
    const moved = new Set(
      [...namespaces.take(), ...pods.take()]
        .filter(({ row, previous }) => (row?.audit ?? false) !== (previous?.audit ?? false))
        .map(({ key }) => String(key)),
    );
    born.take();
    for (const { id, pod } of [...state.endpoints.list()]) if (moved.has(pod.namespace) || moved.has(podKey(pod))) endpoints.regenerate(id);
    let done = true;
    for (const { row, view, labels } of stale()) {
      try {
        await endpoints.relabel(row.id, labels, view);
      } catch (thrown) {
        log.warn("identity not changed, retrying", { endpointId: row.id, error: errorMessage(thrown) });
        done = false;
      }
    }
    return done;
  };
  const done = (async () => {
    while (!signal.aborted) {
      await wake.promise;
      wake = Promise.withResolvers<void>();
      if (signal.aborted || (await round())) continue;
      await sleep(RETRY_MS, signal);
      wake.resolve();
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      controller.abort();
      wake.resolve();
      await done;
      held.dispose();
    },
  };
}
