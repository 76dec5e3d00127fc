import { LbServiceFlags as FLAG, LbScope, lbBackendStateNames, NatDirection, natFlagsNames } from "#datapath/gen/enums.ts";
import { formatProtocol } from "#types/proto.ts";
import { addr16Text } from "./addr16.ts";
import type { DatapathMaps } from "./loader.ts";
import { entryAddress } from "./reconcile/service-entries.ts";

/** One entry of the service map. */
export interface LbSlot {
  readonly frontend: string;
  readonly scope: "external" | "internal";
  readonly slot: number;
  readonly serviceId: number;
  /** In slot 0: how many backends take connections, and how many more there are. */
  readonly count: number;
  readonly quarantined: number;
  readonly affinityTimeout: number;
  /** Slot 0: upstream's words, `ClusterIP`, `non-routable`, `Local`, …; others: `quarantined` where the backend takes no new connections. */
  readonly flags: readonly string[];
  /** Slots above 0. */
  readonly backendId: number;
  /** Address of that backend; absent when the map of backends has none of the number. */
  readonly backend?: string | undefined;
}

/** What the kernel has of services. */
export interface LbDump {
  readonly slots: readonly LbSlot[];
  readonly backends: readonly { readonly id: number; readonly address: string; readonly state: string }[];
  readonly reverseNat: readonly { readonly id: number; readonly address: string }[];
  readonly sourceRanges: readonly { readonly id: number; readonly prefix: string }[];
  readonly affinity: readonly { readonly id: number; readonly backendId: number }[];
  /** Places of each backend in the services' Maglev tables. */
  readonly maglev: readonly { readonly id: number; readonly size: number; readonly places: Readonly<Record<string, number>> }[];
}

type ServiceMaps = Pick<DatapathMaps, "services" | "backends" | "reverseNat" | "sourceRanges" | "affinityMatch" | "maglev">;

/** Reads the service maps: entries of one frontend together, by slot. */
export function dumpServices(maps: ServiceMaps): LbDump {
  const backends = [...maps.backends.entries()].map(([id, backend]) => ({
    id,
    address: entryAddress(backend).text,
    state: (lbBackendStateNames[backend.state] ?? String(backend.state)).toLowerCase(),
  }));
  const names = new Map(backends.map(({ id, address }) => [id, address]));
  const slots = [...maps.services.entries()].map(
    ([key, value]): LbSlot => ({
      frontend: entryAddress(key).text,
      scope: key.scope === LbScope.INTERNAL ? "internal" : "external",
      slot: key.slot,
      serviceId: value.serviceId,
      count: value.count,
      quarantined: value.quarantined,
      affinityTimeout: value.affinityTimeout,
      flags: key.slot === 0 ? flagWords(value.flags) : (value.flags & FLAG.QUARANTINED) !== 0 ? ["quarantined"] : [],
      backendId: value.backendId,
      backend: names.get(value.backendId),
    }),
  );
  return {
    slots: slots.sort((a, b) => compare(a.frontend, b.frontend) || compare(a.scope, b.scope) || a.slot - b.slot),
    backends: backends.sort((a, b) => a.id - b.id),
    reverseNat: [...maps.reverseNat.entries()].map(([id, to]) => ({ id, address: formatPlain(addr16Text(to.address), to.port) })),
    sourceRanges: [...maps.sourceRanges.keys()].map(({ prefixlen, serviceId, address }) => {
      const ip = addr16Text(address);
      return { id: serviceId, prefix: `${ip}/${prefixlen - 32 - (ip.includes(":") ? 0 : 96)}` };
    }),
    affinity: [...maps.affinityMatch.keys()].map(({ serviceId, backendId }) => ({ id: serviceId, backendId })),
    maglev: dumpMaglev(maps, names),
  };
}

const PIECE = 1024;

function dumpMaglev({ maglev, services }: ServiceMaps, names: ReadonlyMap<number, string>): LbDump["maglev"] {
  const heads = [...services.entries()].filter(([{ slot, scope }]) => slot === 0 && scope === LbScope.EXTERNAL);
  const sizes = new Map(heads.map(([, { serviceId, maglevSize }]) => [serviceId, maglevSize]));
  return [...maglev.keys()].map((id) => {
    const inner = maglev.get(id);
    const size = sizes.get(id) ?? 0;
    const places: Record<string, number> = {};
    try {
      for (let first = 0; first < size; first += PIECE) {
        const piece = inner?.get(first / PIECE);
        if (piece) countPlaces(Buffer.from(piece.bytes), Math.min(PIECE, size - first), names, places);
      }
    } finally {
      inner?.close();
    }
    return { id, size, places };
  });
}

function countPlaces(piece: Buffer, places: number, names: ReadonlyMap<number, string>, counts: Record<string, number>): void {
  for (let place = 0; place < places; place++) {
    const id = piece.readUInt32LE(4 * place);
    const name = names.get(id) ?? `unknown backend ${id}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
}

/** Upstream's words for the flags of a frontend. */
function flagWords(flags: number): string[] {
  const has = (flag: number) => (flags & flag) !== 0;
  const types: [number, string][] = [
    [FLAG.NODE_PORT, "NodePort"],
    [FLAG.LOAD_BALANCER, "LoadBalancer"],
    [FLAG.EXTERNAL_IP, "ExternalIPs"],
    [FLAG.HOST_PORT, "HostPort"],
    [FLAG.LOCAL_REDIRECT, "LocalRedirect"],
  ];
  const options: [number, string][] = [
    [FLAG.EXTERNAL_LOCAL, "Local"],
    [FLAG.INTERNAL_LOCAL, "InternalLocal"],
    [FLAG.TWO_SCOPES, "two-scopes"],
    [FLAG.AFFINITY, "sessionAffinity"],
    [FLAG.SOURCE_RANGES, "check source-range"],
    [FLAG.SOURCE_RANGES_DENY, "deny"],
    [FLAG.MAGLEV, "maglev"],
    [FLAG.DSR, "dsr"],
  ];
  const words = (list: [number, string][]) => list.flatMap(([flag, word]) => (has(flag) ? [word] : []));
  const type = words(types);
  return [...(type.length > 0 ? type : ["ClusterIP"]), ...(has(FLAG.ROUTABLE) ? [] : ["non-routable"]), ...words(options)];
}

/** One translation of `cilium_snat`, readable. */
export interface NatRow {
  readonly protocol: string;
  readonly direction: "OUT" | "IN";
  readonly source: string;
  readonly destination: string;
  /** What takes the source's place (OUT) or the destination's (IN). */
  readonly to: string;
  readonly flags: readonly string[];
  /** The frontend whose backend answers; empty for none. */
  readonly service: string;
  /** Seconds from now. */
  readonly expires: number;
}

/** Translations of connections, as `cilium bpf nat list` shows them. */
export function dumpNat(maps: Pick<DatapathMaps, "nat" | "reverseNat">, nowSeconds: number): NatRow[] {
  const services = new Map([...maps.reverseNat.entries()].map(([id, to]) => [id, formatPlain(addr16Text(to.address), to.port)]));
  return [...maps.nat.entries()].map(([key, entry]) => ({
    protocol: formatProtocol(key.protocol),
    direction: key.direction === NatDirection.OUT ? "OUT" : "IN",
    source: formatPlain(addr16Text(key.source), key.sport),
    destination: formatPlain(addr16Text(key.destination), key.dport),
    to: formatPlain(addr16Text(entry.address), entry.port),
    flags: Object.entries(natFlagsNames).flatMap(([bit, name]) => (entry.flags & Number(bit) ? [name.toLowerCase()] : [])),
    service: services.get(entry.serviceId) ?? "",
    expires: entry.lifetime - nowSeconds,
  }));
}

function formatPlain(ip: string, port: number): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
