import { addr16Text } from "#datapath/addr16.ts";
import type { Cookies } from "#datapath/cookies.ts";
import type { CtEntry, CtKey, MetricsValue, PolicyEntry, PolicyKey } from "#datapath/gen/structs.ts";
import type { DatapathMaps } from "#datapath/loader.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { formatProtocol } from "#types/proto.ts";

/** Maps that can be dumped entry by entry, by their names in the kernel. */
const DUMPABLE = {
  cilium_lxc: "lxc",
  cilium_lxc_ifindex: "lxcIfindex",
  cilium_ipcache: "ipcache",
  cilium_ipcache_lpm: "ipcacheLpm",
  cilium_fqdn: "fqdn",
  cilium_policy_config: "policyConfig",
  cilium_ct: "conntrack",
  cilium_lb_services: "services",
  cilium_lb_backends: "backends",
  cilium_metrics: "metrics",
} as const satisfies Record<string, keyof DatapathMaps>;

export const dumpableMaps: readonly string[] = Object.keys(DUMPABLE);

/** A map's entries as JSON; undefined for a map we do not dump. Addresses and MACs are text, keys that are bare numbers stay numbers. */
export function dumpMap(maps: DatapathMaps, name: string): { key: unknown; value: unknown }[] | undefined {
  if (!Object.hasOwn(DUMPABLE, name)) return undefined;
  const property = DUMPABLE[name as keyof typeof DUMPABLE];
  if (property === "metrics") return dumpMetrics(maps.metrics.entries());
  if (property === "policyConfig")
    return readableEntries([...maps.policyConfig.entries()].filter(([, { generation }]) => generation !== 0));
  return readableEntries(maps[property].entries());
}

function readableEntries(entries: Iterable<[unknown, unknown]>): { key: unknown; value: unknown }[] {
  return [...entries].map(([key, value]) => ({ key: readable(key), value: readable(value) }));
}

/** The counters that have counted, by what the index stands for: reason + 256 * direction. */
function dumpMetrics(entries: Iterable<[number, MetricsValue[]]>): { key: unknown; value: unknown }[] {
  return [...entries].flatMap(([index, perCpu]) => {
    const count = perCpu.reduce((sum, one) => sum + one.count, 0n);
    if (count === 0n) return [];
    const bytes = perCpu.reduce((sum, one) => sum + one.bytes, 0n);
    return [{ key: { reason: index & 0xff, direction: index >> 8 }, value: { count: Number(count), bytes: Number(bytes) } }];
  });
}

function readable(value: unknown): unknown {
  if (value instanceof Uint8Array)
    return value.length === 6
      ? Buffer.from(value)
          .toString("hex")
          .replace(/(..)(?=.)/g, "$1:")
      : [...value];
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  if ("bytes" in value && value.bytes instanceof Uint8Array && value.bytes.length === 16) {
    return value.bytes.every((byte) => byte === 0) ? "" : addr16Text({ bytes: value.bytes });
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, readable(item)]));
}

const CT_ORIGIN_HIGH = 1;
const CT_FLAG_NAMES = ["", "SeenReply", "TxClosing", "RxClosing", "Reset", "AuditEgress", "", "AuditIngress"];

/** The connections, oldest use last, from the side that began. */
export function dumpConntrack(entries: Iterable<[CtKey, CtEntry]>): unknown[] {
  return [...entries].map(([key, entry]) => {
    const high = { address: addr16Text(key.high), port: key.highPort };
    const low = { address: addr16Text(key.low), port: key.lowPort };
    const [source, destination] = entry.flags & CT_ORIGIN_HIGH ? [high, low] : [low, high];
    return {
      protocol: formatProtocol(key.protocol),
      source,
      destination,
      flags: CT_FLAG_NAMES.filter((name, bit) => name !== "" && entry.flags & (1 << bit)),
      fromProxy: (key.flags & 2) !== 0,
      expires: entry.lifetime,
      created: entry.created,
      txPackets: entry.txPackets,
      txBytes: entry.txBytes,
      rxPackets: entry.rxPackets,
      rxBytes: entry.rxBytes,
      sourceIdentity: entry.ingress.remoteId,
      destinationIdentity: entry.egress.remoteId,
      proxyPort: entry.egress.proxyPort || entry.ingress.proxyPort,
    };
  });
}

const STATIC_BITS = 40;
const DENY = 1;
const AUTH_TYPES = ["disabled", "spire", "test-always-fail"];

/** One row of a policy map as `bpf policy get` shows it. */
export function policyRow(
  key: PolicyKey,
  value: PolicyEntry,
  labelsOf: (identity: number) => LabelSet | undefined,
  cookies: Cookies,
): unknown {
  const { prefixlen, secLabel, egress, protocol, dport } = key;
  const portBits = Math.max(0, prefixlen - STATIC_BITS - 8);
  return {
    policy: value.flags & DENY ? "Deny" : "Allow",
    direction: egress ? "Egress" : "Ingress",
    identity: secLabel,
    labels: labelsOf(secLabel)?.texts ?? [],
    protocol: prefixlen === STATIC_BITS ? "ANY" : formatProtocol(protocol),
    port: dport,
    endPort: portBits === 0 ? dport : dport + 2 ** (16 - portBits) - 1,
    prefix: portBits,
    proxyPort: value.proxyPort,
    authType: AUTH_TYPES[value.authType] ?? "disabled",
    precedence: value.precedence,
    cookie: value.cookie,
    rules: cookies.origins(value.cookie),
  };
}
