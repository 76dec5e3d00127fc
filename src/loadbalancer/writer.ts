import { isDeepStrictEqual } from "node:util";
import type { Database } from "#statedb/database.ts";
import type { Prefix } from "#types/prefix.ts";
import { type BackendUsers, createBackendUsers } from "./backend-users.ts";
import { type BackendSet, readSlices, SERVICE_NAME_LABEL, type SliceInput } from "./backends.ts";
import { type Claims, createClaims, isSameOwner, type Owner } from "./claims.ts";
import { hostPortsOf, type PodInput } from "./host-port.ts";
import { parseRedirect, type RedirectInput, redirectsOf } from "./redirect.ts";
import { type ParsedService, parseService, type ServiceInput } from "./service.ts";
import { createSource, namespaceOf, objectKey, type Source } from "./source.ts";
import { createLoadBalancerTables, type LoadBalancerTables, type ServiceRow } from "./tables.ts";
import { type Backend, type Frontend, isWildcard, l4Address, type ServiceName } from "./types.ts";

export interface LoadBalancer {
  readonly tables: LoadBalancerTables;
  readonly services: Source<ServiceInput>;
  readonly slices: Source<SliceInput>;
  /** Pods of this node. */
  readonly pods: Source<PodInput>;
  readonly redirects: Source<RedirectInput>;
  /** The slices of a service, `namespace/name`. */
  slicesOf(service: string): readonly SliceInput[];
  /** Calls `wake` whenever something waits for `refresh`. */
  onStale(wake: () => void): void;
  /** All services and pods: the node's labels or addresses are others now. */
  touchAll(): void;
  /** Computes again, in one transaction, what the changes since the last call touched. Answers the services that were. */
  refresh(): ReadonlySet<string>;
}

export interface LoadBalancerConfig {
  readonly nodeName: string;
  readonly nodeLabels: () => Readonly<Record<string, string>>;
  /** The addresses that node ports and host ports are reached at. */
  readonly nodeAddresses: () => readonly string[];
  /** Without kube-proxy replacement: node ports, load balancers, external IPs and host ports are others' business. */
  readonly clusterIpOnly?: boolean;
  /** loadBalancerSourceRanges are for all addresses of a service. */
  readonly sourceRangesForAll?: boolean;
  /** Blocks of the addresses that local redirects may name; all when empty. */
  readonly redirectable?: readonly Prefix[];
}

/** Services, EndpointSlices, Pods and redirect policies → services, frontends and backends. The one writer of these tables. */
export function createLoadBalancer(db: Database, config: LoadBalancerConfig): LoadBalancer {
  return new Writer(db, config);
}

const API_SERVICE = "default/kubernetes";

interface KnownService {
  /** Without the conflicts that it has with others. */
  readonly row: ServiceRow;
  readonly frontends: readonly Frontend[];
}

class Writer implements LoadBalancer {
  readonly tables: LoadBalancerTables;
  readonly services = createSource<ServiceInput>((_, key) => this.#touch("Service", key));
  readonly slices = createSource<SliceInput>((slice, _, gone) => this.#placeSlice(slice, gone));
  readonly pods = createSource<PodInput>((pod, key) => this.#touchPod(pod, key));
  readonly redirects = createSource<RedirectInput>((_, key) => this.#touch("CiliumLocalRedirectPolicy", key));
  readonly #db: Database;
  readonly #config: LoadBalancerConfig;
  readonly #claims: Claims = createClaims();
  readonly #users: BackendUsers;
  readonly #slicesByService = new Map<string, readonly SliceInput[]>();
  readonly #known = new Map<string, KnownService>();
  /** Redirects come last: they stand on services and pods. */
  readonly #stale = { Service: new Set<string>(), Pod: new Set<string>(), CiliumLocalRedirectPolicy: new Set<string>() };
  /** Backends of the service that the API server is known by. */
  #apiServers: ReadonlySet<string> = new Set();
  #wake = () => {};

  constructor(db: Database, config: LoadBalancerConfig) {
    this.#db = db;
    this.#config = config;
    this.tables = createLoadBalancerTables(db);
    this.#users = createBackendUsers(this.tables.backends);
  }

  slicesOf(service: string): readonly SliceInput[] {
    return this.#slicesByService.get(service) ?? [];
  }

  onStale(wake: () => void): void {
    this.#wake = wake;
    if (this.#isStale()) wake();
  }

  touchAll(): void {
    for (const key of this.services.objects.keys()) this.#stale.Service.add(key);
    for (const key of this.pods.objects.keys()) this.#stale.Pod.add(key);
    this.#wake();
  }

  refresh(): ReadonlySet<string> {
    const services = new Set(this.#stale.Service);
    if (!this.#isStale()) return services;
    this.#db.write(() => {
      // The others may have to be looked at again because of it.
      if (this.#stale.Service.delete(API_SERVICE)) this.#refreshService(API_SERVICE);
      for (const key of drain(this.#stale.Service)) this.#refreshService(key);
      for (const key of drain(this.#stale.Pod)) this.#refreshHostPorts(key);
      for (const key of drain(this.#stale.CiliumLocalRedirectPolicy)) this.#refreshRedirect(key);
    });
    return services;
  }

  #isStale(): boolean {
    return Object.values(this.#stale).some(({ size }) => size > 0);
  }

  #touch(kind: Owner["kind"], key: string): void {
    this.#stale[kind].add(key);
    this.#wake();
  }

  /** A slice may be given to another service: the one that had it is touched too. */
  #placeSlice(slice: SliceInput, gone: boolean): void {
    const service = `${namespaceOf(slice)}/${slice.metadata.labels?.[SERVICE_NAME_LABEL] ?? ""}`;
    const others = this.slicesOf(service).filter(({ metadata }) => metadata.name !== slice.metadata.name);
    const slices = gone ? others : [...others, slice];
    if (slices.length > 0) this.#slicesByService.set(service, slices);
    else this.#slicesByService.delete(service);
    this.#touch("Service", service);
  }

  #touchPod(pod: PodInput, key: string): void {
    this.#touch("Pod", key);
    for (const redirect of this.redirects.objects.values())
      if (namespaceOf(redirect) === namespaceOf(pod)) this.#touch("CiliumLocalRedirectPolicy", objectKey(redirect));
  }

  #refreshService(key: string): void {
    const input = this.services.objects.get(key);
    const owner = ownerOf("Service", key, input);
    if (input === undefined) {
      this.#known.delete(key);
      this.#claim(owner, []);
    } else {
      const known = this.#read(owner.name, input);
      this.#known.set(key, known);
      this.#claim(owner, known.frontends);
    }
    if (key === API_SERVICE) this.#protect(this.#known.get(key)?.frontends ?? []);
    this.#describe(owner);
    for (const redirect of this.redirects.objects.values())
      if (namespaceOf(redirect) === owner.name.namespace) this.#touch("CiliumLocalRedirectPolicy", objectKey(redirect));
  }

  /** A Service and its slices as they are now, at this node. */
  #read(name: ServiceName, input: ServiceInput): KnownService {
    const service = exposedHere(parseService(name, input, this.#config.sourceRangesForAll), this.#config);
    const set = readSlices(service.frontends.length > 0 ? this.slicesOf(name.text) : []);
    const problems = [...service.problems, ...set.problems];
    const frontends: Frontend[] = [];
    for (const bare of service.frontends) {
      for (const frontend of withNodeAddresses({ ...bare, backends: backendsOf(set, bare) }, this.#config.nodeAddresses())) {
        if (this.#apiServers.has(frontend.address.text)) problems.push(`${frontend.address.text} is the API server's own`);
        else frontends.push(frontend);
      }
    }
    const { healthCheckNodePort } = service;
    const localBackends = this.#countLocal(frontends);
    return { row: { name, frontends: service.frontends.length, localBackends, healthCheckNodePort, problems }, frontends };
  }

  /** A service with the API server's own address would cut the agents off from whoever could take it away again. */
  #protect(frontends: readonly Frontend[]): void {
    const addresses = new Set(frontends.flatMap(({ backends }) => backends.map(({ address }) => address.text)));
    if (addresses.size === 0 || isDeepStrictEqual(addresses, this.#apiServers)) return;
    this.#apiServers = addresses;
    for (const key of this.services.objects.keys()) if (key !== API_SERVICE) this.#touch("Service", key);
  }

  #refreshHostPorts(key: string): void {
    const pod = this.pods.objects.get(key);
    const ports = pod && !this.#config.clusterIpOnly ? hostPortsOf(pod) : [];
    const frontends = ports.flatMap((port) => withNodeAddresses(port, this.#config.nodeAddresses()));
    this.#claim(ownerOf("Pod", key, pod), frontends);
  }

  #refreshRedirect(key: string): void {
    const object = this.redirects.objects.get(key);
    const owner = ownerOf("CiliumLocalRedirectPolicy", key, object);
    const redirect = object && parseRedirect(object, this.#config.redirectable);
    if (redirect === undefined || "problem" in redirect) {
      this.#claim(owner, []);
      if (redirect) this.tables.redirects.set({ name: owner.name, frontends: [], problem: redirect.problem });
      else this.tables.redirects.delete(key);
      return;
    }
    const service = redirect.from.kind === "service" ? this.#known.get(redirect.from.service.text) : undefined;
    const frontends = redirectsOf(redirect, service?.frontends ?? [], this.pods.objects.values());
    this.#claim(owner, frontends);
    const conflicts = this.#claims.conflicts(owner);
    const row = { name: owner.name, frontends: frontends.map(({ address }) => address), problem: conflicts.join("; ") };
    if (!isDeepStrictEqual(this.tables.redirects.get(key), row)) this.tables.redirects.set(row);
  }

  /** Gives an owner its frontends; who has an address now is in the table. */
  #claim(owner: Owner, frontends: readonly Frontend[]): void {
    const before = this.#claims.of(owner);
    this.#claims.set(owner, frontends);
    for (const { address } of frontends) this.#award(address.text, owner);
    const kept = before.length === 0 ? undefined : new Set(frontends.map(({ address }) => address.text));
    for (const { address } of before) if (!kept?.has(address.text)) this.#award(address.text, owner);
    this.#users.replace(before, frontends);
  }

  #award(address: string, claimant: Owner): void {
    const { frontends: table } = this.tables;
    const winner = this.#claims.winner(address);
    if (winner === undefined) table.delete(address);
    else if (!isDeepStrictEqual(table.get(address), winner)) table.set(winner);
    // Whoever lost the address by this, or got it back, has other problems now.
    for (const owner of this.#claims.owners(address)) if (owner.kind === "Service" && !isSameOwner(owner, claimant)) this.#describe(owner);
  }

  /** Pods of this node that take connections; one has an address of each family. */
  #countLocal(frontends: readonly Frontend[]): number {
    const isLocal = ({ nodeName, state }: Backend) => nodeName === this.#config.nodeName && state === "active";
    if (!frontends.some(({ backends }) => backends.some(isLocal))) return 0;
    const addresses = new Set(frontends.flatMap(({ backends }) => backends.filter(isLocal).map(({ address }) => address.ip)));
    const six = [...addresses].filter((ip) => ip.includes(":")).length;
    return Math.max(six, addresses.size - six);
  }

  #describe(owner: Owner): void {
    const key = owner.name.text;
    const known = this.#known.get(key);
    if (known === undefined) {
      this.tables.services.delete(key);
      return;
    }
    const conflicts = this.#claims.conflicts(owner);
    const row = conflicts.length === 0 ? known.row : { ...known.row, problems: [...known.row.problems, ...conflicts] };
    if (!isDeepStrictEqual(this.tables.services.get(key), row)) this.tables.services.set(row);
  }
}

/** The set's content; the set is empty afterwards and may be filled meanwhile. */
function drain(set: Set<string>): string[] {
  const keys = [...set];
  set.clear();
  return keys;
}

function ownerOf(kind: Owner["kind"], key: string, object: { metadata: { creationTimestamp?: string } } | undefined): Owner {
  const slash = key.indexOf("/");
  const created = object?.metadata.creationTimestamp ?? "";
  return { kind, name: { namespace: key.slice(0, slash), name: key.slice(slash + 1), text: key }, created };
}

function backendsOf(set: BackendSet, { portName, address }: Frontend): readonly Backend[] {
  return set.of(portName, address.protocol, address.ip.includes(":") ? "IPv6" : "IPv4");
}

/**
 * A port of the node is a frontend on each of its addresses, and one without an address: sockets go by that where they call a loopback
 * address of the node, or a node port of another node.
 */
function withNodeAddresses(frontend: Frontend, addresses: readonly string[]): Frontend[] {
  if (!isWildcard(frontend)) return [frontend];
  const own = addresses.filter((ip) => ip.includes(":") === frontend.address.ip.includes(":"));
  const { port, protocol } = frontend.address;
  return [frontend, ...own.map((ip) => ({ ...frontend, address: l4Address(ip, port, protocol) }))];
}

/** Nothing of a service that is for other nodes; of others what is ours to translate. */
function exposedHere(service: ParsedService, { nodeLabels, clusterIpOnly = false }: LoadBalancerConfig): ParsedService {
  const { nodes } = service.annotations;
  if (nodes !== undefined && !nodes(nodeLabels())) return { ...service, frontends: [], healthCheckNodePort: undefined };
  if (!clusterIpOnly) return service;
  return { ...service, frontends: service.frontends.filter(({ type }) => type === "ClusterIP"), healthCheckNodePort: undefined };
}
