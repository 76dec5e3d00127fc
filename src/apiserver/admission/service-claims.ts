import { asArray, asObject, at, type KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { items } from "./fields.ts";

/** What services have that no other may have, each with the uid of its service. */
interface Claims {
  /** Cluster addresses. */
  readonly addresses: Map<string, string>;
  /** Node ports, `31080/TCP`: one number may serve one service by each protocol. Health checks take their number for TCP. */
  readonly ports: Map<string, string>;
}

export interface Taken {
  has(key: string): boolean;
}

type Store = Core["store"];

/** Followed change by change: to look at all services at each creation would make thousands of them slow. */
const followed = new WeakMap<Store, { revision: number; readonly claims: Claims }>();

/** What other services than this one have. */
export function takenByOthers({ store }: Core, service: KubeObject): { readonly addresses: Taken; readonly ports: Taken } {
  const { addresses, ports } = claimsOf(store);
  const byOther = (claims: ReadonlyMap<string, string>) => ({
    has: (key: string) => claims.has(key) && claims.get(key) !== service.metadata.uid,
  });
  return { addresses: byOther(addresses), ports: byOther(ports) };
}

function claimsOf(store: Store): Claims {
  const known = followed.get(store);
  const later = known && store.since("services", known.revision);
  if (known === undefined || later === undefined) {
    const claims: Claims = { addresses: new Map(), ports: new Map() };
    for (const service of store.list("services")) claim(claims, service);
    followed.set(store, { revision: store.revision, claims });
    return claims;
  }
  for (const { type, object, previous } of later) {
    if (previous) release(known.claims, previous);
    if (type !== "DELETED") claim(known.claims, object);
  }
  known.revision = store.revision;
  return known.claims;
}

function claim({ addresses, ports }: Claims, service: KubeObject): void {
  const uid = String(service.metadata.uid);
  for (const address of addressesOf(service)) addresses.set(address, uid);
  for (const port of portsOf(service)) ports.set(port, uid);
}

function release({ addresses, ports }: Claims, service: KubeObject): void {
  for (const address of addressesOf(service)) addresses.delete(address);
  for (const port of portsOf(service)) ports.delete(port);
}

function addressesOf(service: KubeObject): string[] {
  return asArray(at(service, "spec", "clusterIPs")).flatMap((address) => (address === "None" ? [] : String(address)));
}

function portsOf({ spec }: KubeObject): string[] {
  const health = asObject(spec).healthCheckNodePort;
  const ports = items(spec, "ports").flatMap(({ nodePort, protocol }) => (nodePort ? portKey(nodePort, protocol) : []));
  return health ? [...ports, portKey(health, "TCP")] : ports;
}

/** `31080/TCP`. */
export function portKey(port: unknown, protocol: unknown): string {
  return `${String(port)}/${String(protocol ?? "TCP")}`;
}
