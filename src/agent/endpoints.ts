import { createPodLink, hostInterfaceName, openPodLink, type PodAddress, type PodLink, podLinkFault } from "#cni/interface.ts";
import type { Attachments as CniAttachments } from "#cni/plugin.ts";
import { CNI_ERROR, CniError, type CniRequest } from "#cni/request.ts";
import type { Attachment } from "#cni/result.ts";
import type { Attachments as ProgramAttachments } from "#datapath/attach.ts";
import { addressesOf, attachmentKey, type Endpoint, podKey } from "#endpoint/endpoint.ts";
import type { PodView } from "#endpoint/labels.ts";
import { forgetEndpoint, saveEndpoint } from "#endpoint/restore.ts";
import type { Pool } from "#ipam/pool.ts";
import type { Ipcache } from "#ipcache/ipcache.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { Netlink } from "#netlink/netlink.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { WritableTable } from "#statedb/table.ts";
import { type Netns, openNetns } from "#sys/netns.ts";
import { addressFamily, type IpAddress } from "#types/addr.ts";
import { EndpointId } from "#types/endpoint-id.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { hostPrefix } from "#types/prefix.ts";

export interface EndpointsDeps {
  readonly log: Logger;
  readonly table: WritableTable<Endpoint>;
  readonly ipcache: Ipcache;
  readonly pools: readonly Pool[];
  readonly programs: ProgramAttachments;
  readonly netlink: Netlink;
  readonly openNetlink: (options: { readonly netns: Netns }) => Netlink;
  /** The pod as the API server has it, and its identity labels. Rejects with `CniError` when there is no such pod. */
  readonly describe: (pod: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
  }) => Promise<{ view: PodView; labels: LabelSet }>;
  readonly allocate: (labels: LabelSet) => Promise<NumericIdentity>;
  /** Resolves when the endpoint's row and everything before it is in the kernel; rejects when its policy is not. */
  readonly realized: (id: EndpointId, signal: AbortSignal) => Promise<void>;
  /** Forgets the connections of an address before another pod gets it. */
  readonly purge: (address: IpAddress) => Promise<void>;
  readonly unavailable: () => string | undefined;
  readonly onEvent: (event: "created" | "deleted", endpoint: Endpoint) => void;
  /** How long an ADD took, and whether it succeeded. */
  readonly onBirth: (ok: boolean, seconds: number) => void;
}

export interface EndpointsConfig {
  readonly stateDirectory: string;
  readonly mtu: () => number;
  readonly addTimeoutMs: number;
}

/** The life of endpoints: born by CNI ADD, relabelled, removed by CNI DEL. The only writer of their table. */
export interface Endpoints extends CniAttachments {
  /** Takes over an endpoint of before the restart whose interface is still there. */
  restore(endpoint: Endpoint): void;
  /** Puts our programs into the links of all endpoints: when the maps are filled, so that nobody meets an empty one. */
  attachAll(): void;
  /** Gives an endpoint other labels, as its pod or namespace changed; the old identity counts until the new one is known. */
  relabel(id: EndpointId, labels: LabelSet, view: PodView | undefined): Promise<void>;
  setAuditMode(id: EndpointId, on: boolean): void;
  /** Writes everything of the endpoint to the kernel again. */
  regenerate(id: EndpointId): void;
}

export function createEndpoints(deps: EndpointsDeps, config: EndpointsConfig): Endpoints {
  const { log, table, ipcache, pools, programs, netlink } = deps;
  const turns = createTurns();
  const nextId = createIdAllocator(table);

  const put = (row: Endpoint) => {
    table.set(row);
    saveEndpoint(config.stateDirectory, row);
    const { identity, pod } = row;
    if (identity === undefined) return;
    for (const address of addressesOf(row))
      ipcache.claim({ prefix: hostPrefix(address), identity, source: "local", owner: podKey(pod), pod });
  };
  const drop = (row: Endpoint) => {
    for (const address of addressesOf(row)) ipcache.release({ prefix: hostPrefix(address), source: "local", owner: podKey(row.pod) });
    table.delete(row.id);
  };
  const releaseAddress = async (address: IpAddress) => {
    await deps.purge(address);
    for (const pool of pools) pool.release(address);
  };
  const removeNow = async (row: Endpoint) => {
    drop(row);
    await netlink.deleteLink(row.interface.name);
    programs.removeEndpoint(row.id);
    forgetEndpoint(config.stateDirectory, row.id);
    for (const address of addressesOf(row)) await releaseAddress(address);
    log.info("endpoint deleted", { endpointId: row.id, pod: podKey(row.pod) });
    deps.onEvent("deleted", row);
  };
  const remove = async ({ containerId, ifname }: Pick<CniRequest, "containerId" | "ifname">) => {
    const rows = table.by("attachment", attachmentKey(containerId, ifname));
    for (const row of rows) await removeNow(row);
    // A plugin killed in the middle of ADD leaves a veth that no row knows.
    if (rows.length === 0) await netlink.deleteLink(hostInterfaceName(containerId, ifname));
  };
  const birth = (request: CniRequest) =>
    new Birth({ deps, config, put, drop, releaseAddress, nextId }, request).run(AbortSignal.timeout(config.addTimeoutMs));

  return {
    unavailable: deps.unavailable,
    add: (request) =>
      turns.take(attachmentKey(request.containerId, request.ifname), async () => {
        await remove(request);
        return birth(request);
      }),
    remove: (request) => turns.take(attachmentKey(request.containerId, request.ifname), () => remove(request)),
    async check({ containerId, ifname, netns: path }) {
      const [row] = table.by("attachment", attachmentKey(containerId, ifname));
      if (!row) throw new CniError(CNI_ERROR.unknownContainer, `container ${containerId} has no endpoint`);
      if (netlink.link(row.interface.name)?.index !== row.interface.index) {
        throw new CniError(CNI_ERROR.checkFailed, `endpoint ${row.id}: interface ${row.interface.name} is gone`);
      }
      if (row.state !== "ready") throw new CniError(CNI_ERROR.checkFailed, `endpoint ${row.id} is ${row.state}`);
      using netns = openPodNetns(path);
      using pod = deps.openNetlink({ netns });
      const fault = podLinkFault(pod, ifname, row.interface.mac, addressesOf(row));
      if (fault) throw new CniError(CNI_ERROR.checkFailed, `endpoint ${row.id}: ${fault}`);
    },
    async collect(valid) {
      const keep = new Set(valid.map(({ containerID, ifname }) => attachmentKey(containerID, ifname)));
      for (const row of [...table.list()]) {
        const { containerId } = row;
        const { ifname } = row.interface;
        if (!keep.has(attachmentKey(containerId, ifname)))
          await turns.take(attachmentKey(containerId, ifname), () => remove({ containerId, ifname }));
      }
    },
    restore(row) {
      for (const address of addressesOf(row)) for (const pool of pools) pool.take(address, podKey(row.pod));
      put(row);
    },
    attachAll() {
      for (const row of table.list()) programs.endpoint(row.id, row.interface.index);
    },
    async relabel(id, labels, view) {
      const identity = await deps.allocate(labels);
      const row = table.get(id);
      if (!row) return;
      const named = view ? { namedPorts: view.namedPorts, serviceAccount: view.serviceAccount } : {};
      put({ ...row, ...named, labels, identity, state: row.state === "disconnecting" ? row.state : "ready" });
      if (row.identity !== identity) log.info("endpoint has another identity", { endpointId: id, identity, before: row.identity });
    },
    setAuditMode(id, on) {
      const row = table.get(id);
      if (row && row.auditMode !== on) put({ ...row, auditMode: on });
    },
    regenerate(id) {
      const row = table.get(id);
      if (row) table.set({ ...row, regeneration: row.regeneration + 1 });
    },
  };
}

interface BirthContext {
  readonly deps: EndpointsDeps;
  readonly config: EndpointsConfig;
  readonly put: (row: Endpoint) => void;
  readonly drop: (row: Endpoint) => void;
  readonly releaseAddress: (address: IpAddress) => Promise<void>;
  readonly nextId: () => EndpointId;
}

/** One CNI ADD: every step registers how it is undone, and nothing passes before the last one. */
class Birth {
  readonly #context: BirthContext;
  readonly #request: CniRequest;
  readonly #undo: (() => void | Promise<void>)[] = [];

  constructor(context: BirthContext, request: CniRequest) {
    this.#context = context;
    this.#request = request;
  }

  async run(signal: AbortSignal): Promise<Attachment> {
    const { log, onBirth } = this.#context.deps;
    const started = performance.now();
    const elapsed = () => performance.now() - started;
    try {
      const attachment = await this.#steps(signal);
      onBirth(true, elapsed() / 1000);
      log.info("endpoint created", { pod: podKey(this.#pod()), ms: Math.round(elapsed() * 10) / 10 });
      return attachment;
    } catch (thrown) {
      await this.#rollBack();
      onBirth(false, elapsed() / 1000);
      throw thrown;
    }
  }

  async #steps(signal: AbortSignal): Promise<Attachment> {
    const { deps, config, put } = this.#context;
    const pod = this.#pod();
    const addresses = this.#allocateAddresses(podKey(pod));
    const described = deps.describe(pod).then(async ({ view, labels }) => ({ view, labels, identity: await deps.allocate(labels) }));
    // The link is made while the API server answers; should that fail first, nobody would look at this promise.
    described.catch(() => undefined);
    const { netns: path, containerId, ifname } = this.#request;
    using netns = openPodNetns(path);
    const id = this.#context.nextId();
    const link = this.#createLink(id, netns);
    const { view, labels, identity } = await abortable(described, signal);
    const address = (family: 4 | 6) => addresses.find((one) => addressFamily(one.address) === family)?.address;
    const row: Endpoint = {
      id,
      containerId,
      pod: { ...pod, uid: view.uid },
      interface: { name: link.name, index: link.index, hostMac: link.hostMac, mac: link.mac, ifname, netns: path },
      ipv4: address(4),
      ipv6: address(6),
      labels,
      identity,
      state: "regenerating",
      namedPorts: view.namedPorts,
      serviceAccount: view.serviceAccount,
      auditMode: false,
      regeneration: 0,
      createdAt: new Date().toISOString(),
    };
    this.#undo.push(
      () => this.#context.drop(row),
      () => forgetEndpoint(config.stateDirectory, id),
    );
    put(row);
    await deps.realized(id, signal);
    this.#open(netns, link, addresses);
    put({ ...(deps.table.get(id) ?? row), state: "ready" });
    deps.onEvent("created", row);
    const { name: hostInterface, mac, hostMac } = link;
    return { hostInterface, hostMac, ifname, mac, netns: path, mtu: config.mtu(), addresses };
  }

  #pod() {
    const { pod } = this.#request;
    if (!pod) throw new CniError(CNI_ERROR.badEnvironment, "CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME are needed");
    return pod;
  }

  #allocateAddresses(owner: string): PodAddress[] {
    return this.#context.deps.pools.map((pool) => {
      const address = pool.allocate(owner);
      if (address === undefined || pool.router === undefined) {
        throw new CniError(CNI_ERROR.tryAgain, `no free address in ${pool.prefixes.join(", ")}: all ${pool.capacity} are taken`);
      }
      this.#undo.push(() => this.#context.releaseAddress(address));
      return { address, gateway: pool.router };
    });
  }

  #createLink(id: EndpointId, netns: Netns): PodLink {
    const { deps, config } = this.#context;
    const { containerId, ifname } = this.#request;
    const name = hostInterfaceName(containerId, ifname);
    const link = createPodLink(deps.netlink, { name, ifname, netns, mtu: config.mtu() });
    this.#undo.push(async () => void (await deps.netlink.deleteLink(name)));
    this.#undo.push(() => deps.programs.removeEndpoint(id));
    deps.programs.endpoint(id, link.index);
    return link;
  }

  #open(netns: Netns, link: PodLink, addresses: readonly PodAddress[]): void {
    const { netlink, openNetlink } = this.#context.deps;
    const pod = openNetlink({ netns });
    try {
      openPodLink({ node: netlink, pod, netns }, this.#request.ifname, link, addresses);
    } finally {
      pod.close();
    }
  }

  async #rollBack(): Promise<void> {
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (thrown) {
        this.#context.deps.log.error("undoing a failed ADD failed", { error: errorMessage(thrown) });
      }
    }
  }
}

function openPodNetns(path: string): Netns {
  try {
    return openNetns(path);
  } catch (cause) {
    throw new CniError(CNI_ERROR.badEnvironment, `CNI_NETNS: cannot open ${path}`, { cause });
  }
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new CniError(CNI_ERROR.tryAgain, "timed out waiting for the API server")), {
      once: true,
    });
    promise.then(resolve, reject);
  });
}

/** The lowest free number, counting onwards, so that a number just freed is not another pod's at once. */
function createIdAllocator(table: WritableTable<Endpoint>): () => EndpointId {
  let last = 0;
  return () => {
    for (let tried = 0; tried < 0xffff; tried++) {
      last = last >= 0xffff ? 1 : last + 1;
      if (table.get(last) !== undefined) continue;
      return EndpointId(last);
    }
    throw new CniError(CNI_ERROR.tryAgain, "all 65535 endpoint numbers of this node are taken");
  };
}

/** One at a time for each key, in the order of asking. */
function createTurns() {
  const tails = new Map<string, Promise<unknown>>();
  return {
    take<T>(key: string, work: () => Promise<T>): Promise<T> {
      const before = tails.get(key) ?? Promise.resolve();
      const mine = before.then(work, work);
      const tail = mine.then(
        () => undefined,
        () => undefined,
      );
      tails.set(key, tail);
      tail.then(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
      return mine;
    },
  };
}
