import type { Direction } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hasPorts, protocolNumber } from "#types/proto.ts";
import { inPortPrefix } from "./port-range.ts";
import type { EndpointPolicy, PolicyMapEntry } from "./resolve.ts";

/** Traffic to judge, seen from the endpoint: the peer is the other side. */
export type Flow = {
  readonly direction: Direction;
  readonly identity: NumericIdentity;
  readonly protocol: number;
  /** Destination port; for ICMP the type; 0 for protocols without ports. */
  readonly port: number;
};

/** What happens to traffic at an endpoint, and the entry that decided; without one it was default deny. */
export type Verdict =
  | { readonly verdict: "allowed" | "redirected" | "denied"; readonly entry: PolicyMapEntry }
  | { readonly verdict: "denied"; readonly entry?: undefined }
  | { readonly verdict: "error"; readonly error: string; readonly entry?: undefined };

/** What a lookup reads of an entry. */
type MapKey = Pick<PolicyMapEntry, "direction" | "protocol" | "port" | "portPrefix" | "precedence">;

function covers(entry: MapKey, flow: Flow): boolean {
  if (entry.direction !== flow.direction) return false;
  if (entry.protocol === 0) return true;
  if (entry.protocol !== flow.protocol) return false;
  return entry.portPrefix === 0 || inPortPrefix({ port: entry.port, bits: entry.portPrefix }, portOf(flow));
}

function portOf({ protocol, port }: Flow): number {
  return hasPorts(protocol) || protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6 ? port : 0;
}

function matchBits(entry: MapKey): number {
  return entry.protocol === 0 ? 0 : 8 + entry.portPrefix;
}

function longest<T extends MapKey>(entries: readonly T[], flow: Flow): T | undefined {
  let best: T | undefined;
  for (const one of entries) if (covers(one, flow) && (best === undefined || matchBits(one) > matchBits(best))) best = one;
  return best;
}

/** The entry that decides: of the peer's longest match and any peer's, the higher precedence, then the longer match, then the peer's. */
export function decidingEntry(policy: EndpointPolicy, flow: Flow): PolicyMapEntry | undefined {
  return decideAmong(policy.entriesFor(flow.identity), policy.entriesFor(reservedIdentity.unknown), flow);
}

/** `decidingEntry` with the peer's entries and those for any peer at hand: for who asks about many ports. */
export function decideAmong<T extends MapKey>(ofPeer: readonly T[], ofAny: readonly T[], flow: Flow): T | undefined {
  const own = longest(ofPeer, flow);
  const any = longest(ofAny, flow);
  if (own === undefined || any === undefined) return own ?? any;
  if (own.precedence !== any.precedence) return own.precedence > any.precedence ? own : any;
  return matchBits(any) > matchBits(own) ? any : own;
}

/** Judges traffic exactly as the datapath does with its two lookups. */
export function verdict(policy: EndpointPolicy, flow: Flow): Verdict {
  if (policy.error !== undefined) return { verdict: "error", error: policy.error };
  const entry = decidingEntry(policy, flow);
  if (entry === undefined) return { verdict: "denied" };
  if (entry.deny) return { verdict: "denied", entry };
  return { verdict: entry.proxy === undefined ? "allowed" : "redirected", entry };
}
