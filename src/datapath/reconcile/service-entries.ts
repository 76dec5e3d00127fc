import { LbServiceFlags as FLAG, LbBackendState, LbScope } from "#datapath/gen/enums.ts";
import type { LbAffinityMatchKey, LbBackend, LbReverseNat, LbService, LbServiceKey, LbSourceRangeKey } from "#datapath/gen/structs.ts";
import { backendsFor, hasTwoScopes, type Place } from "#loadbalancer/select.ts";
import {
  type Algorithm,
  type Backend,
  type BackendState,
  type Frontend,
  type FrontendType,
  isLoopback,
  isWildcard,
  type L4Address,
  l4Address,
  type Scope,
} from "#loadbalancer/types.ts";
import { addressToBytes, type IpAddress } from "#types/addr.ts";
import { prefixToBytes } from "#types/prefix.ts";
import { parseProtocol } from "#types/proto.ts";
import { type Addr16, addr16, addr16Text } from "../addr16.ts";

/** How this node balances where a service does not say. */
export interface ServiceSettings {
  readonly algorithm: Algorithm;
  /** `hybrid`: `dsr` for TCP, `snat` for the rest. */
  readonly mode: "snat" | "dsr" | "hybrid";
  /** Whether clients outside may use cluster addresses. */
  readonly externalClusterIp: boolean;
  readonly maglevSize: number;
  readonly place: () => Place;
}

/** What of a frontend belongs in which map. */
export interface ServiceEntries {
  readonly reverseNat: LbReverseNat;
  readonly ranges: readonly LbSourceRangeKey[];
  readonly affinity: readonly LbAffinityMatchKey[];
  /** The backends of the Maglev table; absent without one. */
  readonly maglev?: readonly Backend[] | undefined;
  /** Slots 1 and above. */
  readonly slots: readonly Entry[];
  /** Slot 0 of each scope, the internal one first: it must be there before the other says so. */
  readonly heads: readonly Entry[];
}

type Entry = readonly [LbServiceKey, LbService];

/** The entries of a frontend whose service and backends have these numbers. */
export function serviceEntries(
  frontend: Frontend,
  serviceId: number,
  backendId: (backend: Backend) => number,
  settings: ServiceSettings,
): ServiceEntries {
  const { address } = frontend;
  const isMaglev = usesMaglev(frontend, settings);
  const place = settings.place();
  const scopes = hasTwoScopes(frontend) ? BOTH_SCOPES : ONE_SCOPE;
  const chosen = scopes.map((scope) => backendsFor(frontend, scope, place));
  const before = frontend.unredirected && unredirectedEntries(frontend.unredirected, serviceId, backendId, settings);
  const slots: Entry[] = [...(before?.slots ?? [])];
  const heads: Entry[] = [...(before?.heads ?? [])];
  const key: Omit<LbServiceKey, "slot" | "scope"> = {
    address: bytesOf(address),
    port: address.port,
    protocol: protocolOf(address.protocol),
  };
  const quarantined = frontend.backends.filter(({ state }) => state === "quarantined");
  for (const [i, backends] of chosen.entries()) {
    const scope = SCOPES[scopes[i] ?? "external"];
    const behind = [...backends, ...quarantined];
    for (const [at, backend] of behind.entries()) {
      const flags = at < backends.length ? 0 : FLAG.QUARANTINED;
      slots.push([
        { ...key, slot: at + 1, scope },
        { ...EMPTY, serviceId, backendId: backendId(backend), flags },
      ]);
    }
    heads.push([
      { ...key, slot: 0, scope },
      headOf(frontend, { serviceId, count: backends.length, quarantined: quarantined.length }, settings),
    ]);
  }
  const external = chosen.at(-1) ?? [];
  const matched = frontend.affinitySeconds === undefined ? [] : [...new Set(chosen.flat())];
  return {
    reverseNat: { address: key.address, port: address.port },
    ranges: frontend.sourceRanges.map((prefix) => {
      const { bytes, bits } = prefixToBytes(prefix);
      return { prefixlen: 32 + bits, serviceId, address: addr16(bytes) };
    }),
    affinity: matched.map((backend) => ({ serviceId, backendId: backendId(backend) })),
    maglev: isMaglev && external.length > 0 ? external : undefined,
    slots,
    heads,
  };
}

/** Slot 0. */
function headOf(frontend: Frontend, counts: Pick<LbService, "serviceId" | "count" | "quarantined">, settings: ServiceSettings): LbService {
  const hasTable = counts.count > 0 && usesMaglev(frontend, settings);
  return {
    ...EMPTY,
    ...counts,
    affinityTimeout: frontend.affinitySeconds ?? 0,
    maglevSize: hasTable ? settings.maglevSize : 0,
    flags: flagsOf(frontend, settings, hasTwoScopes(frontend), hasTable),
  };
}

const EMPTY: LbService = { backendId: 0, serviceId: 0, affinityTimeout: 0, maglevSize: 0, count: 0, quarantined: 0, flags: 0 };

/** What pods get that a redirect is not for: the service as those inside see it, without affinity or Maglev, in the internal scope. */
function unredirectedEntries(
  { affinitySeconds: _, ...frontend }: Frontend,
  serviceId: number,
  backendId: (backend: Backend) => number,
  settings: ServiceSettings,
): Pick<ServiceEntries, "slots" | "heads"> {
  const plain = { ...frontend, algorithm: "random", sourceRanges: [], externalPolicy: frontend.internalPolicy } as const;
  const { slots, heads } = serviceEntries(plain, serviceId, backendId, settings);
  const inside = <T>([key, value]: readonly [LbServiceKey, T]) => [{ ...key, scope: LbScope.INTERNAL }, value] as const;
  return { slots: slots.map(inside), heads: heads.map(inside) };
}

const SCOPES: Readonly<Record<Scope, number>> = { external: LbScope.EXTERNAL, internal: LbScope.INTERNAL };
const ONE_SCOPE: readonly Scope[] = ["external"];
/** The internal one must be there before the other says so. */
const BOTH_SCOPES: readonly Scope[] = ["internal", "external"];

/** A table of its own for each cluster address would cost much and give nothing: it is for clients that come by several nodes. */
function usesMaglev({ algorithm, type }: Frontend, settings: ServiceSettings): boolean {
  return algorithm === undefined ? settings.algorithm === "maglev" && type !== "ClusterIP" : algorithm === "maglev";
}

const TYPE_FLAGS: Readonly<Record<FrontendType, number>> = {
  ClusterIP: 0,
  NodePort: FLAG.NODE_PORT,
  LoadBalancer: FLAG.LOAD_BALANCER,
  ExternalIPs: FLAG.EXTERNAL_IP,
  HostPort: FLAG.HOST_PORT,
  LocalRedirect: FLAG.LOCAL_REDIRECT,
};

function flagsOf(frontend: Frontend, settings: ServiceSettings, two: boolean, maglev: boolean): number {
  const { type, sourceRanges, denySourceRanges, internalPolicy, externalPolicy, affinitySeconds } = frontend;
  const isOutside = type !== "ClusterIP" && type !== "LocalRedirect";
  const isOfNode = isWildcard(frontend) || isLoopback(frontend.address.ip);
  const isRoutable = (isOutside && !isOfNode) || (type === "ClusterIP" && settings.externalClusterIp);
  return (
    TYPE_FLAGS[type] |
    (affinitySeconds === undefined ? 0 : FLAG.AFFINITY) |
    (two ? FLAG.TWO_SCOPES : 0) |
    (isRoutable ? FLAG.ROUTABLE : 0) |
    (sourceRanges.length > 0 ? FLAG.SOURCE_RANGES | (denySourceRanges ? FLAG.SOURCE_RANGES_DENY : 0) : 0) |
    (maglev ? FLAG.MAGLEV : 0) |
    (isOutside && isDsr(frontend, settings) ? FLAG.DSR : 0) |
    (isOutside && externalPolicy === "Local" ? FLAG.EXTERNAL_LOCAL : 0) |
    (internalPolicy === "Local" ? FLAG.INTERNAL_LOCAL : 0)
  );
}

function isDsr({ forwarding, address }: Frontend, { mode }: ServiceSettings): boolean {
  if (forwarding !== undefined) return forwarding === "dsr";
  return mode === "dsr" || (mode === "hybrid" && address.protocol === "TCP");
}

const STATES: Readonly<Record<BackendState, number>> = {
  active: LbBackendState.ACTIVE,
  terminating: LbBackendState.TERMINATING,
  "terminating-not-serving": LbBackendState.TERMINATING,
  quarantined: LbBackendState.QUARANTINED,
};

export function backendEntry({ address, state }: Backend): LbBackend {
  return {
    address: bytesOf(address),
    port: address.port,
    protocol: protocolOf(address.protocol),
    state: STATES[state],
  };
}

function protocolOf(name: L4Address["protocol"]): number {
  return parseProtocol(name) ?? 0;
}

/** The key of a frontend's entry. */
export function serviceKey(address: L4Address, scope: number, slot: number): LbServiceKey {
  return { address: bytesOf(address), port: address.port, slot, protocol: protocolOf(address.protocol), scope };
}

/** The text is canonical: whoever made the address has parsed it. */
function bytesOf({ ip }: L4Address): Addr16 {
  return addr16(addressToBytes(ip as IpAddress));
}

/** The address of an entry. */
export function entryAddress({ address, port, protocol }: { address: Addr16; port: number; protocol: number }): L4Address {
  return l4Address(addr16Text(address), port, protocol === 17 ? "UDP" : protocol === 132 ? "SCTP" : "TCP");
}
