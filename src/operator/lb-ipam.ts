import type { CiliumLoadBalancerIPPool as PoolObject, Service } from "#k8s/types.ts";
import { labelSetFromRecord } from "#labels/label-set.ts";
import { matches, requirementsOf, selectorOf } from "#labels/selector.ts";
import { type AddressRange, type Conflict, formatNumber, type Pool, parseNumber, readPools } from "./lb-pools.ts";
import { type Sharer, unshareable } from "./lb-sharing.ts";

/** Which addresses a load balancer service has, and why not others. */
export interface Assignment {
  readonly ips: readonly string[];
  readonly satisfied: boolean;
  readonly reason:
    | "satisfied"
    | "no_pool"
    | "pool_selector_mismatch"
    | "already_allocated"
    | "already_allocated_incompatible_service"
    | "out_of_ips"
    | "invalid_ip";
  readonly message: string;
}

/** What a service asks for. */
interface Wish extends Sharer {
  readonly key: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly families: readonly (4 | 6)[];
  /** By annotation or `spec.loadBalancerIP`; any when empty. */
  readonly requested: readonly string[];
  readonly current: readonly string[];
}

export interface LbIpam {
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<string, Assignment>;
  /** Pools by name with their counts, and with whom they overlap. */
  readonly pools: ReadonlyMap<string, PoolUse>;
}

export interface PoolUse {
  readonly total: bigint;
  readonly used: bigint;
  /** Why it gives out nothing: it has addresses of another pool, or a block that is none. */
  readonly conflict: Conflict | undefined;
}

/** Today's names of the annotations, and those of before. */
const PREFIXES = ["lbipam.cilium.io/", "io.cilium/lb-ipam-"];

/**
 * Gives every load balancer service its addresses. What a service has it keeps, as long as a pool still has it; the others get theirs
 * in the order of their age. Pure: the same objects give the same answer, so a restart changes nothing.
 */
export function assignAddresses(objects: Iterable<PoolObject>, services: Iterable<Service>): LbIpam {
  const pools = readPools(objects);
  const wishes = [...services].filter(isOurs).sort(byAge).map(wishOf);
  const desk = createDesk(pools);
  const kept = new Map(wishes.map((wish) => [wish.key, wish.current.filter((ip) => desk.keep(ip, wish))]));
  const assignments = new Map(wishes.map((wish) => [wish.key, desk.serve(wish, kept.get(wish.key) ?? [])]));
  return { services: assignments, pools: new Map(pools.map((pool) => [pool.name, desk.use(pool)])) };
}

/** A load balancer service that no other implementation is responsible for. */
export function isOurs({ spec }: Service): boolean {
  const ours = [undefined, "", "io.cilium/l2-announcer", "io.cilium/bgp-control-plane"];
  return spec?.type === "LoadBalancer" && ours.includes(spec.loadBalancerClass);
}

function byAge(a: Service, b: Service): number {
  const order = (service: Service) => `${service.metadata.creationTimestamp ?? ""} ${service.metadata.namespace}/${service.metadata.name}`;
  return order(a) < order(b) ? -1 : 1;
}

function wishOf({ metadata, spec, status }: Service): Wish {
  const namespace = metadata.namespace ?? "default";
  const note = (name: string) => PREFIXES.map((prefix) => metadata.annotations?.[`${prefix}${name}`]).find((text) => text) ?? "";
  const list = (text: string) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  const requested = list(note("ips"));
  const families = (spec?.ipFamilies ?? ["IPv4"]).map((family) => (family === "IPv6" ? 6 : 4));
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    labels: { ...metadata.labels, "io.kubernetes.service.namespace": namespace, "io.kubernetes.service.name": metadata.name },
    families,
    requested: requested.length > 0 ? requested : list(spec?.loadBalancerIP ?? ""),
    sharingKey: note("sharing-key"),
    sharingNamespaces: [namespace, ...list(note("sharing-cross-namespace"))],
    ports: new Set((spec?.ports ?? []).map(({ port, protocol }) => `${port}/${protocol ?? "TCP"}`)),
    externalPolicy: spec?.externalTrafficPolicy === "Local" ? "Local" : "Cluster",
    selector: Object.entries(spec?.selector ?? {})
      .sort()
      .join(";"),
    current: (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []),
  };
}

/** Where addresses are handed out. */
function createDesk(pools: readonly Pool[]) {
  const users = new Map<string, Wish[]>();
  const next = new Map<AddressRange, bigint>();
  const selects = (pool: Pool, wish: Wish) => matchesLabels(pool, wish.labels);
  const holds = (pool: Pool, ip: bigint, family: 4 | 6) =>
    pool.ranges.some((range) => range.family === family && ip >= range.first && ip <= range.last);
  const take = (ip: string, wish: Wish) => {
    users.set(ip, [...(users.get(ip) ?? []), wish]);
    return ip;
  };
  const conflict = (ip: string, wish: Wish) =>
    (users.get(ip) ?? []).map((other) => unshareable(wish, other)).find((reason) => reason !== undefined);
  const isFree = (ip: string, wish: Wish) => conflict(ip, wish) === undefined;

  /** A free address of the first pool that has one. */
  const any = (wish: Wish, family: 4 | 6, from: readonly Pool[]): string | undefined => {
    const shared =
      wish.sharingKey === "" ? [] : [...users].filter(([, list]) => list.some(({ sharingKey }) => sharingKey === wish.sharingKey));
    for (const [ip] of shared) if (familyOf(ip) === family && isFree(ip, wish) && owner(ip, wish, from)) return ip;
    for (const range of from.flatMap(({ ranges }) => ranges).filter((one) => one.family === family)) {
      for (let number = next.get(range) ?? range.first; number <= range.last; number++) {
        next.set(range, number);
        const ip = formatNumber(number, family);
        if (!users.has(ip)) return ip;
      }
    }
    return undefined;
  };
  const owner = (ip: string, wish: Wish, from: readonly Pool[]) => {
    const number = parseNumber(ip);
    return number === undefined ? undefined : from.find((pool) => selects(pool, wish) && holds(pool, number, familyOf(ip)));
  };

  return {
    /** Whether the service may go on having it; it has it then. */
    keep(ip: string, wish: Wish): boolean {
      const wanted = wish.requested.length === 0 || wish.requested.includes(ip);
      const usable = pools.filter(({ conflict }) => conflict === undefined);
      if (!wanted || !wish.families.includes(familyOf(ip)) || !isFree(ip, wish) || !owner(ip, wish, usable)) return false;
      take(ip, wish);
      return true;
    },
    serve(wish: Wish, had: readonly string[]): Assignment {
      const open = pools.filter(({ disabled, conflict }) => !disabled && conflict === undefined);
      const selecting = open.filter((pool) => selects(pool, wish));
      const ips = [...had];
      let trouble: Omit<Assignment, "ips" | "satisfied"> | undefined;
      for (const ip of wish.requested.filter((one) => !had.includes(one))) {
        trouble = troubleWith(ip, wish, { open, conflict, owner });
        if (trouble === undefined) ips.push(take(ip, wish));
      }
      for (const family of wish.requested.length > 0 ? [] : wish.families) {
        if (ips.some((ip) => familyOf(ip) === family)) continue;
        const ip = any(wish, family, selecting);
        if (ip === undefined) trouble = nothingLeft(open, selecting, family);
        else ips.push(take(ip, wish));
      }
      if (trouble) return { ips, satisfied: false, ...trouble };
      return { ips, satisfied: true, reason: "satisfied", message: "" };
    },
    use(pool: Pool): PoolUse {
      const total = pool.ranges.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
      // What is in use of its ranges is the other pool's.
      if (pool.conflict) return { total, used: 0n, conflict: pool.conflict };
      const used = [...users.keys()].filter((ip) => holds(pool, parseNumber(ip) ?? -1n, familyOf(ip))).length;
      return { total, used: BigInt(used), conflict: undefined };
    },
  };
}

function nothingLeft(open: readonly Pool[], selecting: readonly Pool[], family: 4 | 6): Omit<Assignment, "ips" | "satisfied"> {
  if (open.length === 0) return { reason: "no_pool", message: "there is no CiliumLoadBalancerIPPool that gives out addresses" };
  if (selecting.length === 0) return { reason: "no_pool", message: "no CiliumLoadBalancerIPPool selects this service" };
  return { reason: "out_of_ips", message: `the pools ${selecting.map(({ name }) => name).join(", ")} have no free IPv${family} address` };
}

/** Why a service cannot have just this address; undefined when it can. */
function troubleWith(
  ip: string,
  wish: Wish,
  desk: {
    readonly open: readonly Pool[];
    readonly conflict: (ip: string, wish: Wish) => string | undefined;
    readonly owner: (ip: string, wish: Wish, from: readonly Pool[]) => Pool | undefined;
  },
): Omit<Assignment, "ips" | "satisfied"> | undefined {
  const number = parseNumber(ip);
  if (number === undefined) return { reason: "invalid_ip", message: `"${ip}" is no IP address` };
  const anyone = desk.open.some((pool) =>
    pool.ranges.some((range) => range.family === familyOf(ip) && number >= range.first && number <= range.last),
  );
  if (!anyone) return { reason: "no_pool", message: `no CiliumLoadBalancerIPPool has ${ip}` };
  if (!desk.owner(ip, wish, desk.open))
    return { reason: "pool_selector_mismatch", message: `the pool of ${ip} does not select this service` };
  const conflict = desk.conflict(ip, wish);
  if (conflict === undefined) return undefined;
  if (wish.sharingKey === "") return { reason: "already_allocated", message: `${ip} is another service's` };
  return {
    reason: "already_allocated_incompatible_service",
    message: `${ip} is the address of a service it cannot share with: ${conflict}`,
  };
}

function matchesLabels({ selector }: Pool, labels: Readonly<Record<string, string>>): boolean {
  if (selector === undefined) return true;
  const set = labelSetFromRecord(Object.fromEntries(Object.entries(labels).map(([key, value]) => [`k8s:${key}`, value])));
  return matches(selectorOf(requirementsOf(selector)), set);
}

function familyOf(ip: string): 4 | 6 {
  return ip.includes(":") ? 6 : 4;
}
