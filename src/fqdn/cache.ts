import type { IpAddress } from "#types/addr.ts";
import { AgedMap } from "./aged-map.ts";

/** A name that an endpoint has resolved. Times are whole seconds of one steady clock. */
export interface KnownName {
  /** Normalized: lower case, final dot. */
  readonly name: string;
  /** Address → when it stops to be this name's; the least recently learned first. */
  readonly ips: Map<IpAddress, number>;
  /** As the server said at the last lookup. */
  ttl: number;
  lookedUp: number;
  /** The identities that stand for the selectors which match the name. */
  identities: readonly number[];
}

/** An address that some name has: nearly always one, so that more take the room. */
interface KnownAddress {
  owner: KnownName;
  others: Set<KnownName> | undefined;
  /** With other owners, for each identity that it may be reached by, until when. Undefined: to be found out from the owners, who may be thousands. */
  grants: Map<number, number> | undefined;
}

export interface CacheLimits {
  readonly ipsPerName: number;
  readonly addresses: number;
  readonly names: number;
}

export interface Answer {
  readonly name: string;
  readonly own: readonly { readonly ip: IpAddress; readonly ttl: number }[];
}

/** An address that no name has any more, and the last one that had it. */
export interface Gone {
  readonly ip: IpAddress;
  readonly name: string;
}

/** What a lookup changed. */
export interface Learned {
  /** Addresses that are new, or whose time was extended. */
  readonly changed: readonly IpAddress[];
  /** Addresses that were given up because there were too many. */
  readonly evicted: readonly Gone[];
}

const NOTHING: Learned = { changed: [], evicted: [] };

/** The names that one endpoint knows and their addresses: bounded, oldest lookups go first. Pure but for its own tables. */
export class NameCache {
  readonly names = new AgedMap<string, KnownName>();
  readonly addresses = new AgedMap<IpAddress, KnownAddress>();
  readonly #match: (name: string) => readonly number[];

  /** `match` gives the identities of the selectors that match a name. */
  constructor(match: (name: string) => readonly number[]) {
    this.#match = match;
  }

  /** `until` turns a TTL into the time at which an address is forgotten. */
  learn({ name, own }: Answer, now: number, until: (ttl: number) => number, limits: CacheLimits): Learned {
    if (own.length === 0) return NOTHING;
    const known = this.#name(name, now);
    const changed: IpAddress[] = [];
    known.lookedUp = now;
    for (const { ip, ttl } of own) {
      known.ttl = ttl;
      const expires = until(ttl);
      const before = known.ips.get(ip);
      if (before !== undefined && before >= expires) continue;
      known.ips.delete(ip);
      known.ips.set(ip, expires);
      this.#own(known, ip, expires);
      changed.push(ip);
    }
    if (changed.length === 0) return NOTHING;
    this.names.set(name, known);
    return { changed, evicted: this.#evict(known, limits) };
  }

  /** For each identity that an address may be reached by, until when; the latest first. */
  grantsOf(ip: IpAddress): { readonly identity: number; readonly expires: number }[] {
    const address = this.addresses.get(ip);
    if (address === undefined) return [];
    const { owner, others } = address;
    if (others === undefined) return owner.identities.map((identity) => ({ identity, expires: owner.ips.get(ip) ?? 0 }));
    address.grants ??= grantsOfOwners([owner, ...others], ip);
    return [...address.grants].map(([identity, expires]) => ({ identity, expires })).sort((a, b) => b.expires - a.expires);
  }

  /** Takes an address from a name. True when no other name has it; the name goes with its last address. */
  take(known: KnownName, ip: IpAddress): boolean {
    known.ips.delete(ip);
    if (known.ips.size === 0) this.names.delete(known.name);
    const address = this.addresses.get(ip);
    if (address === undefined) return false;
    address.grants = undefined;
    const heir = address.owner === known ? address.others?.values().next().value : address.owner;
    if (heir === undefined) return this.addresses.delete(ip);
    address.owner = heir;
    address.others?.delete(known);
    address.others?.delete(heir);
    if (address.others?.size === 0) address.others = undefined;
    return false;
  }

  /** Takes from a name what has expired. Gives the addresses that no other name has. */
  expire(known: KnownName, now: number): IpAddress[] {
    return [...known.ips].filter(([ip, expires]) => expires <= now && this.take(known, ip)).map(([ip]) => ip);
  }

  /** Gives up the addresses that were learned least recently, until there are no more than so many. */
  shrink(addresses: number): Gone[] {
    const gone: Gone[] = [];
    for (let oldest = this.addresses.oldest(); oldest && this.addresses.size > addresses; oldest = this.addresses.oldest()) {
      const [ip, { owner, others }] = oldest;
      for (const one of [owner, ...(others ?? [])]) this.take(one, ip);
      gone.push({ ip, name: owner.name });
    }
    return gone;
  }

  /** Forgets a name. Gives the addresses that no other name has. */
  forget(known: KnownName): IpAddress[] {
    return [...known.ips.keys()].filter((ip) => this.take(known, ip));
  }

  /** Matches all names again: the selectors have changed. Gives the addresses that others may reach now. */
  rematch(): IpAddress[] {
    const changed = new Set<IpAddress>();
    for (const known of this.names.values()) {
      const identities = this.#match(known.name);
      if (identities.length === known.identities.length && identities.every((one, i) => one === known.identities[i])) continue;
      known.identities = identities;
      for (const ip of known.ips.keys()) changed.add(ip);
    }
    for (const ip of changed) {
      const address = this.addresses.get(ip);
      if (address) address.grants = undefined;
    }
    return [...changed];
  }

  #own(known: KnownName, ip: IpAddress, expires: number): void {
    const address: KnownAddress = this.addresses.get(ip) ?? { owner: known, others: undefined, grants: undefined };
    if (address.owner !== known) {
      address.others ??= new Set();
      address.others.add(known);
    }
    if (address.grants) extend(address.grants, known.identities, expires);
    this.addresses.set(ip, address);
  }

  #name(name: string, now: number): KnownName {
    const found = this.names.get(name);
    if (found !== undefined) return found;
    const made = { name, ips: new Map<IpAddress, number>(), ttl: 0, lookedUp: now, identities: this.#match(name) };
    this.names.set(name, made);
    return made;
  }

  #evict(known: KnownName, limits: CacheLimits): Gone[] {
    const evicted: Gone[] = [];
    for (const ip of known.ips.keys()) {
      if (known.ips.size <= limits.ipsPerName) break;
      if (this.take(known, ip)) evicted.push({ ip, name: known.name });
    }
    for (let oldest = this.names.oldest(); oldest && this.names.size > limits.names; oldest = this.names.oldest()) {
      const [name, forgotten] = oldest;
      evicted.push(...this.forget(forgotten).map((ip) => ({ ip, name })));
    }
    evicted.push(...this.shrink(limits.addresses));
    return evicted;
  }
}

/** Times only grow here, so the later one holds. */
function extend(grants: Map<number, number>, identities: readonly number[], expires: number): void {
  for (const identity of identities) grants.set(identity, Math.max(grants.get(identity) ?? 0, expires));
}

function grantsOfOwners(owners: Iterable<KnownName>, ip: IpAddress): Map<number, number> {
  const grants = new Map<number, number>();
  for (const { ips, identities } of owners) extend(grants, identities, ips.get(ip) ?? 0);
  return grants;
}
