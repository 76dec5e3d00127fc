import type { PolicyEntry, PolicyKey } from "#datapath/gen/structs.ts";
import type { L7Policy } from "#policy/l7-policy.ts";
import type { PolicyMapEntry } from "#policy/resolve.ts";
import { type Direction, directionNumber } from "#types/direction.ts";
import type { Cookies } from "../cookies.ts";

/** sec_label and direction always match in full: POLICY_STATIC_BITS of bpf/lib/policy_maps.h. */
const STATIC_BITS = 40;
const PROTOCOL_BITS = 8;
const DENY = 1;

export interface ProxyPorts {
  readonly ingress: number;
  readonly egress: number;
}

/** The engine's entry as the kernel's key. Without a protocol there is no port. */
export function policyKeyOf({ identity, direction, protocol, port, portPrefix }: PolicyMapEntry): PolicyKey {
  const bits = protocol === 0 ? 0 : PROTOCOL_BITS + portPrefix;
  return { prefixlen: STATIC_BITS + bits, secLabel: identity, egress: directionNumber(direction), protocol, dport: port };
}

/** The application rules of a direction; asked for only when an entry needs them. */
export type L7Of = (direction: Direction) => readonly L7Policy[];

/** The engine's entry as the kernel's value. A parser we have no proxy for gets the same port: the proxy denies what it has no rules for. */
export function policyEntryOf(entry: PolicyMapEntry, l7: L7Of, cookies: Cookies, proxyPorts: ProxyPorts): PolicyEntry {
  return {
    proxyPort: needsProxy(entry, l7) ? proxyPorts[entry.direction] : 0,
    flags: entry.deny ? DENY : 0,
    authType: entry.auth ? authNumber(entry.auth.type) : 0,
    matchLen: policyKeyOf(entry).prefixlen - STATIC_BITS,
    precedence: entry.precedence,
    cookie: cookies.of(entry.origins),
  };
}

/** DNS rules that allow every name leave nothing to decide, so they need no proxy; any other redirect does. */
function needsProxy(entry: PolicyMapEntry, l7: L7Of): boolean {
  if (!entry.proxy || entry.deny) return false;
  if (entry.proxy.parser !== "dns") return true;
  const { protocol, port, identity } = entry;
  const isHere = (one: L7Policy) =>
    (one.protocol === 0 || one.protocol === protocol) && one.port <= port && port <= Math.max(one.port, one.endPort);
  const rules = l7(entry.direction)
    .filter(isHere)
    .flatMap((one) => one.rules);
  const mine = rules.filter(({ identities }) => identities === null || identities.includes(identity));
  return !mine.some(({ dns }) => dns?.some(({ matchPattern }) => /^\*+$/.test(matchPattern?.trim() ?? "")));
}

/** Upstream's numbers of authentication types. */
function authNumber(type: string): number {
  if (type === "disabled") return 0;
  return type === "required" || type === "spire" ? 1 : 2;
}

/** Equal keys, equal texts. */
export function keyText({ prefixlen, secLabel, egress, protocol, dport }: PolicyKey): string {
  return `${secLabel} ${egress} ${protocol} ${dport}/${prefixlen}`;
}

export function sameEntry(a: PolicyEntry, b: PolicyEntry): boolean {
  return (
    a.proxyPort === b.proxyPort &&
    a.flags === b.flags &&
    a.authType === b.authType &&
    a.precedence === b.precedence &&
    a.cookie === b.cookie
  );
}
