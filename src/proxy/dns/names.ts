import { AgedMap } from "#fqdn/aged-map.ts";
import { type KnownName, NameCache } from "#fqdn/cache.ts";
import { fqdnMatcher } from "#fqdn/pattern.ts";
import type { Logger } from "#runtime/logger.ts";
import type { IpAddress } from "#types/addr.ts";
import type { GrantMap } from "./grants.ts";
import type { JournalLine } from "./journal.ts";
import { connectionKey, type FindLive } from "./live-connections.ts";
import {
  type DnsCacheEntry,
  type DnsEndpoint,
  type DnsPolicyMessage,
  type DnsSettings,
  NAME_GRACE,
  type NamedIdentity,
} from "./protocol.ts";
import { isReachable } from "./reachable.ts";

/** Bounds of one endpoint, whatever it asks. */
const MAX_ADDRESSES = 65_536;
const MAX_NAMES = 65_536;
/** Names looked at in one sweep. */
const SWEPT = 2000;

export interface NamesDeps {
  readonly log: Logger;
  readonly grants: GrantMap;
  readonly findLive: FindLive;
  readonly journal: (line: JournalLine) => void;
  /** Seconds of the monotonic clock: the kernel's. */
  readonly now: () => number;
}

interface EndpointState {
  readonly endpoint: DnsEndpoint;
  readonly cache: NameCache;
  /** Addresses in the kernel whose names have expired: they go when no connection uses them, the oldest first when there are too many. */
  readonly deferred: AgedMap<IpAddress, true>;
  selectors: string;
  match: (name: string) => readonly number[];
  sweep: Iterator<KnownName>;
}

export interface NameCounts {
  names: number;
  addresses: number;
  deferred: number;
}

/** What endpoints learned by name: their caches, and through them the kernel's map. */
export class Names {
  readonly #deps: NamesDeps;
  readonly #endpoints = new Map<number, EndpointState>();
  #settings: DnsSettings = { rejectWith: "refused", minTtl: 0, maxIpsPerName: 1000, maxDeferred: 10_000 };
  #restored: readonly JournalLine[];
  #searching = false;
  /** Addresses that were given up before their time, since an endpoint had too many. */
  evictions = 0;

  constructor(deps: NamesDeps, restored: readonly JournalLine[]) {
    this.#deps = deps;
    this.#restored = restored;
  }

  get settings(): DnsSettings {
    return this.#settings;
  }

  /** Follows a new policy: names stay, what they open is computed again. Throws when the kernel cannot be told. */
  setPolicy({ settings, endpoints }: Pick<DnsPolicyMessage, "settings" | "endpoints">): void {
    this.#settings = settings;
    const kept = new Map(endpoints.map((one) => [one.id, one]));
    for (const [id, state] of this.#endpoints) if (kept.get(id)?.key !== state.endpoint.key) this.#remove(id, state);
    for (const endpoint of endpoints) this.#setEndpoint(endpoint);
    this.#restore();
  }

  /** Takes an answer. When it returns, the kernel lets the endpoint reach the addresses; throws when it could not be told. */
  learn(endpointId: number, name: string, own: readonly { readonly ip: IpAddress; readonly ttl: number }[]): void {
    const state = this.#endpoints.get(endpointId);
    if (state === undefined) return;
    const now = this.#deps.now();
    const { minTtl, maxIpsPerName } = this.#settings;
    const until = (ttl: number) => now + Math.max(ttl, minTtl) + NAME_GRACE;
    const reachable = own.filter(({ ip }) => isReachable(ip));
    const limits = { ipsPerName: maxIpsPerName, addresses: MAX_ADDRESSES, names: MAX_NAMES };
    const { changed, evicted } = state.cache.learn({ name, own: reachable }, now, until, limits);
    for (const ip of changed) this.#grant(state, ip);
    this.evictions += evicted.length;
    for (const ip of evicted) this.#defer(state, ip);
    if (changed.length === 0) return;
    const known = state.cache.names.get(name);
    if (known === undefined) return;
    const ips = changed.map((ip) => [ip, known.ips.get(ip) ?? 0] as const);
    this.#deps.journal({ endpoint: endpointId, key: state.endpoint.key, name, ttl: known.ttl, lookedUp: now, ips });
  }

  /** Forgets some of what has expired; call it every second or so. */
  sweep(): void {
    const now = this.#deps.now();
    for (const state of this.#endpoints.values()) {
      for (let i = 0; i < SWEPT; i++) {
        const { value, done } = state.sweep.next();
        if (done) {
          state.sweep = state.cache.names.values();
          break;
        }
        for (const ip of state.cache.expire(value, now)) this.#keepWhileUsed(state, ip);
      }
    }
  }

  /** Takes out of the kernel what has expired and no connection uses. Resolves when it is done; a second call meanwhile does nothing. */
  async collect(): Promise<void> {
    const states = [...this.#endpoints.values()];
    const wanted = new Set(states.flatMap(({ endpoint, deferred }) => [...deferred.keys()].map((ip) => connectionKey(endpoint.id, ip))));
    if (wanted.size === 0 || this.#searching) return;
    this.#searching = true;
    try {
      const live = await this.#deps.findLive(wanted);
      for (const { endpoint, deferred } of states) {
        for (const ip of deferred.keys()) {
          const key = connectionKey(endpoint.id, ip);
          if (wanted.has(key) && !live.has(key) && deferred.delete(ip)) this.#deps.grants.delete(endpoint.id, ip);
        }
      }
    } finally {
      this.#searching = false;
    }
  }

  /** Forgets names and what they opened. */
  clean(matchPattern: string | undefined): readonly DnsCacheEntry[] {
    const matches = matchPattern === undefined ? () => true : fqdnMatcher({ matchPattern });
    const gone = [...this.entries()].filter(({ name }) => matches(name));
    for (const state of this.#endpoints.values()) {
      for (const known of [...state.cache.names.values()].filter(({ name }) => matches(name))) {
        const ips = [...known.ips.keys()];
        for (const ip of state.cache.forget(known)) this.#deps.grants.delete(state.endpoint.id, ip);
        for (const ip of ips) if (state.cache.addresses.has(ip)) this.#grant(state, ip);
        this.#deps.journal({ endpoint: state.endpoint.id, key: state.endpoint.key, name: known.name, ttl: 0, lookedUp: 0, ips: [] });
      }
    }
    return gone;
  }

  *entries(): Generator<DnsCacheEntry> {
    const toWall = Date.now() - this.#deps.now() * 1000;
    for (const { endpoint, cache, deferred } of this.#endpoints.values()) {
      for (const { name, ips, ttl, lookedUp } of cache.names.values()) {
        const expires = toWall + Math.max(...ips.values()) * 1000;
        yield { endpointId: endpoint.id, name, ips: [...ips.keys()], ttl, lookupTime: toWall + lookedUp * 1000, expires, source: "lookup" };
      }
      if (deferred.size === 0) continue;
      const common = { endpointId: endpoint.id, name: "", ttl: 0, lookupTime: 0, expires: 0, source: "connection" as const };
      yield { ...common, ips: [...deferred.keys()] };
    }
  }

  /** What the journal would have to say again. */
  *lines(): Generator<JournalLine> {
    yield* this.#restored;
    for (const { endpoint, cache } of this.#endpoints.values()) {
      for (const { name, ttl, lookedUp, ips } of cache.names.values()) {
        yield { endpoint: endpoint.id, key: endpoint.key, name, ttl, lookedUp, ips: [...ips] };
      }
    }
  }

  counts(): NameCounts {
    const total = { names: 0, addresses: 0, deferred: 0 };
    for (const { cache, deferred } of this.#endpoints.values()) {
      total.names += cache.names.size;
      total.addresses += cache.addresses.size;
      total.deferred += deferred.size;
    }
    return total;
  }

  #setEndpoint(endpoint: DnsEndpoint): void {
    const before = this.#endpoints.get(endpoint.id);
    const selectors = JSON.stringify(endpoint.selectors);
    if (before?.selectors === selectors) return;
    const match = matcherOf(endpoint.selectors);
    const state: EndpointState = before ?? createState(endpoint, match);
    state.selectors = selectors;
    state.match = match;
    this.#endpoints.set(endpoint.id, state);
    state.cache.rematch();
    for (const ip of state.cache.addresses.keys()) this.#grant(state, ip);
  }

  /** After a restart: the names of the journal, and addresses in the kernel that it does not explain. */
  #restore(): void {
    const lines = this.#restored;
    this.#restored = [];
    const now = this.#deps.now();
    for (const { endpoint, key, name, ttl, lookedUp, ips } of lines) {
      const state = this.#endpoints.get(endpoint);
      if (state?.endpoint.key !== key) continue;
      const old = state.cache.names.get(name);
      if (ips.length === 0 && old !== undefined) state.cache.forget(old);
      const own = ips.filter(([, expires]) => expires > now).map(([ip, expires]) => ({ ip: ip as IpAddress, ttl: expires }));
      const limits = { ipsPerName: this.#settings.maxIpsPerName, addresses: MAX_ADDRESSES, names: MAX_NAMES };
      state.cache.learn({ name, own }, lookedUp, (expires) => expires, limits);
      const known = state.cache.names.get(name);
      if (known !== undefined) known.ttl = ttl;
    }
    if (lines.length === 0) return;
    for (const state of this.#endpoints.values()) for (const ip of state.cache.addresses.keys()) this.#grant(state, ip);
    for (const { endpointId, ip } of this.#deps.grants.entries()) {
      const state = this.#endpoints.get(endpointId);
      if (state !== undefined && !state.cache.addresses.has(ip)) state.deferred.set(ip, true);
    }
  }

  /** Tells the kernel what the names of an address open. */
  #grant(state: EndpointState, ip: IpAddress): void {
    const grants = state.cache.grantsOf(ip);
    if (grants.length > 0) this.#deps.grants.set(state.endpoint.id, ip, grants);
    else this.#deps.grants.delete(state.endpoint.id, ip);
    state.deferred.delete(ip);
  }

  /** Nothing begins any more; what has begun goes on. */
  #defer(state: EndpointState, ip: IpAddress): void {
    const { grants, now } = this.#deps;
    const ended = grants.get(state.endpoint.id, ip).map(({ identity }) => ({ identity, expires: now() }));
    if (ended.length === 0) return;
    grants.set(state.endpoint.id, ip, ended);
    this.#keepWhileUsed(state, ip);
  }

  #keepWhileUsed({ endpoint, deferred }: EndpointState, ip: IpAddress): void {
    deferred.set(ip, true);
    for (let oldest = deferred.oldest(); oldest && deferred.size > this.#settings.maxDeferred; oldest = deferred.oldest()) {
      deferred.delete(oldest[0]);
      this.#deps.grants.delete(endpoint.id, oldest[0]);
    }
  }

  #remove(id: number, { cache, deferred }: EndpointState): void {
    for (const ip of [...cache.addresses.keys(), ...deferred.keys()]) this.#deps.grants.delete(id, ip);
    this.#endpoints.delete(id);
  }
}

function createState(endpoint: DnsEndpoint, match: (name: string) => readonly number[]): EndpointState {
  const state: Omit<EndpointState, "cache"> = { endpoint, deferred: new AgedMap(), selectors: "", match, sweep: [].values() };
  return Object.assign(state, { cache: new NameCache((name) => state.match(name)) });
}

/** The identities of the selectors that match a name. */
function matcherOf(selectors: readonly NamedIdentity[]): (name: string) => readonly number[] {
  const compiled = selectors.map((one) => ({ identity: one.identity, matches: fqdnMatcher(one) }));
  return (name) => [...new Set(compiled.filter(({ matches }) => matches(name)).map(({ identity }) => identity))];
}
