import { type KnownName, type Learned, type Lost, NameCache } from "#fqdn/cache.ts";
import { fqdnMatcher } from "#fqdn/pattern.ts";
import type { IpAddress } from "#types/addr.ts";
import type { Grant } from "./grants.ts";
import { type DnsEndpoint, type DnsSettings, NAME_GRACE, type NamedIdentity } from "./protocol.ts";
import { isReachable } from "./reachable.ts";

/** Bounds of one endpoint, whatever it asks. */
const MAX_ADDRESSES = 65_536;
const MAX_NAMES = 65_536;
const NO_LIMITS = { ipsPerName: Number.POSITIVE_INFINITY, addresses: Number.POSITIVE_INFINITY, names: Number.POSITIVE_INFINITY };
/** Names looked at in one sweep. */
const SWEPT = 2000;

/** A name as it was learned before a restart; its addresses with their ends. */
interface Restored {
  readonly name: string;
  readonly ttl: number;
  readonly lookedUp: number;
  readonly ips: readonly (readonly [ip: IpAddress, expires: number])[];
}

/** The names of one endpoint, in their time and beyond it. Knows nothing of the kernel. */
export class EndpointNames {
  readonly endpoint: DnsEndpoint;
  readonly cache: NameCache;
  /**
   * Names whose time is over, with the addresses that a connection may still use: Cilium's zombies. They stand for these addresses as before, for rules to come, too. The
   * address that was seen in use least recently is the first to go.
   */
  readonly zombies: NameCache;
  /** Identities of the selectors. */
  wanted: ReadonlySet<number> = new Set();
  #selectors = "";
  #match: (name: string) => readonly number[] = () => [];
  #sweep: Iterator<KnownName> = [].values();

  constructor(endpoint: DnsEndpoint) {
    this.endpoint = endpoint;
    const match = (name: string) => this.#match(name);
    this.cache = new NameCache(match);
    this.zombies = new NameCache(match);
  }

  get size(): number {
    return this.cache.addresses.size + this.zombies.addresses.size;
  }

  /** Follows the policy. Gives the addresses that others may reach now. */
  select(selectors: readonly NamedIdentity[]): readonly IpAddress[] {
    const text = JSON.stringify(selectors);
    if (text === this.#selectors) return [];
    this.#selectors = text;
    this.#match = matcherOf(selectors);
    this.wanted = new Set(selectors.map(({ identity }) => identity));
    return [...new Set([...this.cache.rematch(), ...this.zombies.rematch()])];
  }

  /** Takes an answer. What it pushes out is to be retired. */
  learn(name: string, own: readonly { readonly ip: IpAddress; readonly ttl: number }[], now: number, settings: DnsSettings): Learned {
    const { minTtl, grace } = settings;
    const until = (ttl: number) => now + Math.max(ttl, minTtl) + Math.max(grace, NAME_GRACE);
    return this.#learn(
      name,
      own.filter(({ ip }) => isReachable(ip)),
      now,
      until,
      settings,
    );
  }

  /** Takes what was learned before a restart. Addresses whose time is over are zombies until the kernel, or a search, says otherwise. */
  restore({ name, ttl, lookedUp, ips }: Restored, now: number, settings: DnsSettings): void {
    const newer = this.cache.names.get(name);
    const told = newer && { ttl: newer.ttl, lookedUp: newer.lookedUp };
    const own = ips.filter(([, expires]) => expires > now).map(([ip, expires]) => ({ ip, ttl: expires }));
    this.#learn(name, own, lookedUp, (expires) => expires, settings);
    const known = this.cache.names.get(name);
    if (known !== undefined) Object.assign(known, told !== undefined && told.lookedUp > lookedUp ? told : { ttl });
    const over = ips.filter(([ip, expires]) => expires <= now && !known?.ips.has(ip));
    this.retire(over.map(([ip, expires]) => ({ ip, name, expires })));
  }

  /** Forgets some of what has expired: gives it, and how many names went with it. */
  expire(now: number): { readonly lost: Lost[]; readonly names: number } {
    const lost: Lost[] = [];
    let names = 0;
    for (let i = 0; i < SWEPT; i++) {
      const { value, done } = this.#sweep.next();
      if (done) {
        this.#sweep = this.cache.names.values();
        break;
      }
      lost.push(...this.cache.expire(value, now));
      if (value.ips.size === 0) names += 1;
    }
    return { lost, names };
  }

  /** Keeps what names have lost as long as connections may use it. */
  retire(lost: readonly Lost[]): void {
    for (const { ip, name, expires } of lost) this.zombies.learn({ name, own: [{ ip, ttl: 0 }] }, expires, () => expires, NO_LIMITS);
  }

  /** Of the names that have more zombies than they may: takes those that no connection uses, then those whose time ended first. */
  limit(maxIpsPerName: number, isLive: (ip: IpAddress) => boolean): Lost[] {
    const crowded = [...this.zombies.names.values()].filter(({ name, ips }) => name !== "" && ips.size > maxIpsPerName);
    return crowded.flatMap((known) => {
      const byUse = [...known.ips].sort(([a, endOfA], [b, endOfB]) => Number(isLive(a)) - Number(isLive(b)) || endOfA - endOfB);
      return byUse.slice(0, known.ips.size - maxIpsPerName).map(([ip]) => this.zombies.take(known, ip));
    });
  }

  /** Whether a name still has time for the address, although it had to give it up. */
  isAhead(ip: IpAddress, now: number): boolean {
    return this.zombies.ownersOf(ip).some(({ ips }) => (ips.get(ip) ?? 0) > now);
  }

  /** For each identity that an address may be reached by, until when; the latest first. */
  grantsOf(ip: IpAddress): readonly Grant[] {
    const grants = this.cache.grantsOf(ip);
    if (!this.zombies.addresses.has(ip)) return grants;
    const known = new Set(grants.map(({ identity }) => identity));
    return [...grants, ...this.zombies.grantsOf(ip).filter(({ identity }) => !known.has(identity))];
  }

  #learn(
    name: string,
    own: readonly { readonly ip: IpAddress; readonly ttl: number }[],
    now: number,
    until: (ttl: number) => number,
    { maxIpsPerName }: DnsSettings,
  ): Learned {
    const learned = this.cache.learn({ name, own }, now, until, { ipsPerName: maxIpsPerName, addresses: MAX_ADDRESSES, names: MAX_NAMES });
    const zombie = this.zombies.names.get(name);
    if (zombie !== undefined) for (const { ip } of own) if (zombie.ips.has(ip)) this.zombies.take(zombie, ip);
    return learned;
  }
}

/** The identities of the selectors that match a name. */
function matcherOf(selectors: readonly NamedIdentity[]): (name: string) => readonly number[] {
  const compiled = selectors.map((one) => ({ identity: one.identity, matches: fqdnMatcher(one) }));
  return (name) => [...new Set(compiled.filter(({ matches }) => matches(name)).map(({ identity }) => identity))];
}
