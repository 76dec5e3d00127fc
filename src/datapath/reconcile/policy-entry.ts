import type { PolicyEntry, PolicyKey } from "#datapath/gen/structs.ts";
import type { PolicyMapEntry } from "#policy/resolve/resolve.ts";
import { directionNumber } from "#types/direction.ts";
import type { Cookies } from "../cookies.ts";

/** sec_label and direction always match in full: POLICY_STATIC_BITS of bpf/lib/policy_maps.h. */
const STATIC_BITS = 40;
const PROTOCOL_BITS = 8;
const DENY = 1;

export interface ProxyPorts {
  readonly ingress: number;
  readonly egress: number;
  /** The DNS proxy's, UDP and TCP. */
  readonly dns: number;
}

/** The engine's entry as the kernel's key. Without a protocol there is no port. */
export function policyKeyOf({ identity, direction, protocol, port, portPrefix }: PolicyMapEntry): PolicyKey {
  const bits = protocol === 0 ? 0 : PROTOCOL_BITS + portPrefix;
  return { prefixlen: STATIC_BITS + bits, secLabel: identity, egress: directionNumber(direction), protocol, dport: port };
}

/** The engine's entry as the kernel's value. A parser we have no proxy for gets the same port: the proxy denies what it has no rules for. */
export function policyEntryOf(entry: PolicyMapEntry, cookies: Cookies, proxyPorts: ProxyPorts): PolicyEntry {
  return {
    proxyPort: proxyPortOf(entry, proxyPorts),
    flags: entry.deny ? DENY : 0,
    authType: entry.auth ? authNumber(entry.auth.type) : 0,
    matchLen: policyKeyOf(entry).prefixlen - STATIC_BITS,
    precedence: entry.precedence,
    cookie: cookies.of(entry.origins),
  };
}

function proxyPortOf({ proxy, deny, direction }: PolicyMapEntry, ports: ProxyPorts): number {
  if (!proxy || deny) return 0;
  return proxy.parser === "dns" ? ports.dns : ports[direction];
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
