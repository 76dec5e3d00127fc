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

/** What a name has no more, and until when it would have had it. */
export interface Lost {
  readonly ip: IpAddress;
  readonly name: string;
  readonly expires: number;
}

/** What a lookup changed. */
export interface Learned {
  /** Addresses that are new, or whose time was extended. */
  readonly changed: readonly IpAddress[];
  /** What was given up because there was too much. */
  readonly evicted: readonly Lost[];
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

  /** Takes an address from a name, which goes with its last. */
  take(known: KnownName, ip: IpAddress): Lost {
    const lost = { ip, name: known.name, expires: known.ips.get(ip) ?? 0 };
    known.ips.delete(ip);
    if (known.ips.size === 0) this.names.delete(known.name);
    const address = this.addresses.get(ip);
    if (address === undefined) return lost;
    address.grants = undefined;
    const heir = address.owner === known ? address.others?.values().next().value : address.owner;
    if (heir === undefined) {
      this.addresses.delete(ip);
      return lost;
    }
    address.owner = heir;
    address.others?.delete(known);
    address.others?.delete(heir);
    if (address.others?.size === 0) address.others = undefined;
    return lost;
  }

  /** Takes from a name what has expired. */
  expire(known: KnownName, now: number): Lost[] {
    return [...known.ips].filter(([, expires]) => expires <= now).map(([ip]) => this.take(known, ip));
  }

  /** The names that have an address. */
  ownersOf(ip: IpAddress): KnownName[] {
    const address = this.addresses.get(ip);
    return address === undefined ? [] : [address.owner, ...(address.others ?? [])];
  }

  /** Takes an address from all names. */
  drop(ip: IpAddress): Lost[] {
    return this.ownersOf(ip).map((one) => this.take(one, ip));
  }

  /** Makes an address the last to be given up. */
  refresh(ip: IpAddress): void {
    const address = this.addresses.get(ip);
    if (address !== undefined) this.addresses.set(ip, address);
  }

  /** Gives up the addresses that were learned least recently, until there are no more than so many. */
  shrink(addresses: number): Lost[] {
    const lost: Lost[] = [];
    for (let oldest = this.addresses.oldest(); oldest && this.addresses.size > addresses; oldest = this.addresses.oldest())
      lost.push(...this.drop(oldest[0]));
    return lost;
  }

  /** Forgets a name. */
  forget(known: KnownName): Lost[] {
    return [...known.ips.keys()].map((ip) => this.take(known, ip));
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

  #evict(known: KnownName, limits: CacheLimits): Lost[] {
    const evicted = firstToEnd(known, limits.ipsPerName).map((ip) => this.take(known, ip));
    for (let oldest = this.names.oldest(); oldest && this.names.size > limits.names; oldest = this.names.oldest())
      evicted.push(...this.forget(oldest[1]));
    evicted.push(...this.shrink(limits.addresses));
    return evicted;
  }
}

/** The addresses that a name has beyond so many: those whose time ends first, as Cilium gives them up. */
function firstToEnd({ ips }: KnownName, kept: number): IpAddress[] {
  if (ips.size <= kept) return [];
  const byEnd = [...ips].sort(([, a], [, b]) => a - b);
  return byEnd.slice(0, ips.size - kept).map(([ip]) => ip);
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
