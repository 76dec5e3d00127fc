import type { LearnedName } from "#hubble/names.ts";
import { type DnsAccessMessage, type DnsCacheEntry, type DnsSettings, NAME_GRACE } from "#proxy/dns/protocol.ts";

/** The names by which endpoints came to know addresses, for flows and explanations. A copy of what the proxy tells, bounded. */
export interface DnsNames {
  /** From an answer at the proxy. */
  take(message: DnsAccessMessage): void;
  /** What the proxy had learned before. */
  learn(entries: readonly DnsCacheEntry[]): void;
  /** The proxy has forgotten these. */
  forget(entries: readonly DnsCacheEntry[]): void;
  /** Newest first, without the final dot. */
  namesOf(endpointId: number, ip: string): readonly string[];
  /** For a denial: what the address was last known as, and until when it let connections begin (milliseconds since 1970). */
  learnedName(endpointId: number, ip: string): LearnedName | undefined;
}

const KEPT_ADDRESSES = 65_536;
const NAMES_OF_ADDRESS = 5;
const NO_TTL = 0xffffffff;

interface Known {
  readonly names: readonly string[];
  readonly until: number;
}

export function createDnsNames({ minTtl, grace }: Pick<DnsSettings, "minTtl" | "grace">): DnsNames {
  const table = new Map<string, Known>();
  const put = (endpointId: number, ip: string, name: string, until: number) => {
    const key = `${endpointId} ${ip}`;
    const old = table.get(key);
    const bare = name.endsWith(".") ? name.slice(0, -1) : name;
    const names = [bare, ...(old?.names ?? []).filter((one) => one !== bare)].slice(0, NAMES_OF_ADDRESS);
    table.delete(key);
    table.set(key, { names, until: Math.max(until, old?.until ?? 0) });
    if (table.size <= KEPT_ADDRESSES) return;
    const [oldest] = table.keys();
    if (oldest !== undefined) table.delete(oldest);
  };
  return {
    take({ kind, verdict, endpointId, time, dns }) {
      if (kind !== "response" || verdict !== "FORWARDED") return;
      const seconds = Math.max(minTtl, dns.ttl === NO_TTL ? 0 : dns.ttl);
      for (const ip of dns.ips) put(endpointId, ip, dns.query, time + (seconds + Math.max(grace, NAME_GRACE)) * 1000);
    },
    learn(entries) {
      for (const { endpointId, name, ips, expires } of entries) if (name !== "") for (const ip of ips) put(endpointId, ip, name, expires);
    },
    forget(entries) {
      for (const { endpointId, ips } of entries) for (const ip of ips) table.delete(`${endpointId} ${ip}`);
    },
    namesOf: (endpointId, ip) => table.get(`${endpointId} ${ip}`)?.names ?? [],
    learnedName(endpointId, ip) {
      const { names: [name] = [], until = 0 } = table.get(`${endpointId} ${ip}`) ?? {};
      return name === undefined ? undefined : { name, until };
    },
  };
}
