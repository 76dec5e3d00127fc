import { setImmediate as turn } from "node:timers/promises";
import { AgedMap } from "#fqdn/aged-map.ts";
import { type KnownName, NameCache } from "#fqdn/cache.ts";
import { fqdnMatcher } from "#fqdn/pattern.ts";
import type { Logger } from "#runtime/logger.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import type { IpAddress } from "#types/addr.ts";
import type { Grant, GrantMap } from "./grants.ts";
import type { JournalLine } from "./journal.ts";
import { connectionKey, type FindLive } from "./live-connections.ts";
import {
  DEFAULT_DNS_SETTINGS,
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
/** Addresses that are closed together, and at most in one sweep: it takes less than one by one, and no query has to wait long. */
const LET_GO = 64;
const SWEPT_ADDRESSES = 2000;
/** Addresses that are restored between two looks at what else there is to do. */
const RESTORED_AT_ONCE = 256;
/** Addresses that an endpoint gives up at once when the kernel has no room. */
const GIVEN_UP = 256;

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
  /**
   * Addresses in the kernel that are no name's any more, and the last that they had: nothing begins after their time, what has begun goes on. They go when no
   * connection uses them, the oldest first when there are too many.
   */
  readonly deferred: AgedMap<IpAddress, string>;
  selectors: string;
  /** Identities of the selectors. */
  wanted: ReadonlySet<number>;
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
  #settings = DEFAULT_DNS_SETTINGS;
  /** What of the journal is not in the caches yet, the next one last; undefined before it is read. */
  #unread: JournalLine[] | undefined;
  #hasPolicy = false;
  #isRestoring = false;
  /** Resolves when all is there that was learned before. What is learned meanwhile is allowed at once. */
  restored: Promise<void> = Promise.resolve();
  #searching = false;
  /** When connections were last searched for; milliseconds since 1970. */
  #searched = Date.now();
  /** Addresses that were given up before their time, since an endpoint had too many. */
  evictions = 0;
  /** Names whose time was over. */
  expired = 0;

  constructor(deps: NamesDeps) {
    this.#deps = deps;
  }

  /** Goes on from what was learned before: from the first policy on, which says whose it is. */
  adopt(lines: readonly JournalLine[]): void {
    this.#unread = present(lines).reverse();
    this.#beginRestoring();
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
    this.#hasPolicy = true;
    this.#beginRestoring();
  }

  /** Takes an answer. When it returns, the kernel lets the endpoint reach the addresses; throws when it could not be told. */
  learn(endpointId: number, name: string, own: readonly { readonly ip: IpAddress; readonly ttl: number }[]): void {
    const state = this.#endpoints.get(endpointId);
    if (state === undefined) return;
    const now = this.#deps.now();
    const { minTtl, maxIpsPerName, grace } = this.#settings;
    const until = (ttl: number) => now + Math.max(ttl, minTtl) + Math.max(grace, NAME_GRACE);
    const reachable = own.filter(({ ip }) => isReachable(ip));
    const limits = { ipsPerName: maxIpsPerName, addresses: MAX_ADDRESSES, names: MAX_NAMES };
    const { changed, evicted } = state.cache.learn({ name, own: reachable }, now, until, limits);
    this.evictions += evicted.length;
    for (const { ip, name: last } of evicted) state.deferred.set(ip, last);
    if (state.deferred.size >= this.#settings.maxDeferred + LET_GO) this.#letGo(state, this.#settings.maxDeferred);
    for (const ip of changed) this.#grantInRoom(state, ip);
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
        for (const ip of state.cache.expire(value, now)) state.deferred.set(ip, value.name);
        if (value.ips.size === 0) this.expired += 1;
      }
      this.#letGo(state, Math.max(this.#settings.maxDeferred, state.deferred.size - SWEPT_ADDRESSES));
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
        const isOver = (key: string) => wanted.has(key) && !live.has(key);
        const over = [...deferred.keys()].filter((ip) => isOver(connectionKey(endpoint.id, ip)) && deferred.delete(ip));
        this.#deps.grants.delete(endpoint.id, over);
      }
      this.#searched = Date.now();
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
        this.#deps.grants.delete(state.endpoint.id, state.cache.forget(known));
        for (const ip of ips) if (state.cache.addresses.has(ip)) this.#grant(state, ip);
        this.#deps.journal({ endpoint: state.endpoint.id, key: state.endpoint.key, name: known.name, ttl: 0, lookedUp: 0, ips: [] });
      }
      const over = [...state.deferred].filter(([, name]) => matches(name)).map(([ip]) => ip);
      for (const ip of over) state.deferred.delete(ip);
      this.#deps.grants.delete(state.endpoint.id, over);
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
      const common = {
        endpointId: endpoint.id,
        ttl: 0,
        lookupTime: this.#searched,
        expires: this.#searched,
        source: "connection" as const,
      };
      for (const [ip, name] of deferred) yield { ...common, name, ips: [ip] };
    }
  }

  /** What the journal would have to say again. */
  *lines(): Generator<JournalLine> {
    // Those that come into the caches meanwhile are said there.
    const unread = this.#unread ?? [];
    for (let i = unread.length - 1; i >= 0; i--) {
      const line = unread[i];
      if (line !== undefined) yield line;
    }
    for (const { endpoint, cache } of this.#endpoints.values()) {
      for (const { name, ttl, lookedUp, ips } of cache.names.values()) {
        yield { endpoint: endpoint.id, key: endpoint.key, name, ttl, lookedUp, ips: [...ips] };
      }
    }
  }

  counts(): NameCounts {
    const total = { names: 0, addresses: 0, deferred: 0 };
    for (const [, { names, addresses, deferred }] of this.countsByEndpoint()) {
      total.names += names;
      total.addresses += addresses;
      total.deferred += deferred;
    }
    return total;
  }

  *countsByEndpoint(): Generator<readonly [endpointId: number, counts: NameCounts]> {
    for (const [id, { cache, deferred }] of this.#endpoints)
      yield [id, { names: cache.names.size, addresses: cache.addresses.size, deferred: deferred.size }];
  }

  #setEndpoint(endpoint: DnsEndpoint): void {
    const before = this.#endpoints.get(endpoint.id);
    const selectors = JSON.stringify(endpoint.selectors);
    if (before?.selectors === selectors) return;
    const match = matcherOf(endpoint.selectors);
    const state: EndpointState = before ?? createState(endpoint, match);
    state.selectors = selectors;
    state.match = match;
    state.wanted = new Set(endpoint.selectors.map(({ identity }) => identity));
    this.#endpoints.set(endpoint.id, state);
    this.#grantAll(state, state.cache.rematch());
  }

  #beginRestoring(): void {
    const unread = this.#unread;
    if (!this.#hasPolicy || this.#isRestoring || unread === undefined || unread.length === 0) return;
    this.#isRestoring = true;
    this.restored = this.#restore(unread).catch((thrown: unknown) => {
      this.#deps.log.error("not all learned names are restored", { error: String(thrown) });
    });
  }

  /**
   * After a restart: the names of the journal, and addresses in the kernel that it does not explain. A piece at a time: questions that have waited meanwhile are more
   * urgent, since what was learned is in the kernel, which has outlived the proxy.
   */
  async #restore(unread: JournalLine[]): Promise<void> {
    while (unread.length > 0) {
      await turn();
      for (let addresses = 0; addresses < RESTORED_AT_ONCE; ) {
        const line = unread.at(-1);
        if (line === undefined) break;
        this.#restoreLine(line);
        unread.pop();
        addresses += line.ips.length;
      }
    }
    await this.#compareWithKernel();
  }

  /** What is in the kernel is nearly always right, and reading it at once takes a fraction of writing it address by address. */
  async #compareWithKernel(): Promise<void> {
    const found = new Map([...this.#endpoints.keys()].map((id) => [id, new Set<IpAddress>()]));
    let seen = 0;
    for (const { endpointId, ip, grants } of this.#deps.grants.entries()) {
      if (++seen % RESTORED_AT_ONCE === 0) await turn();
      const state = this.#endpoints.get(endpointId);
      if (state === undefined) continue;
      found.get(endpointId)?.add(ip);
      if (!state.cache.addresses.has(ip)) state.deferred.set(ip, "");
      else if (!areSame(state.cache.grantsOf(ip), grants)) this.#grantAll(state, [ip]);
    }
    for (const [id, state] of this.#endpoints) {
      const missing = [...state.cache.addresses.keys()].filter((ip) => !found.get(id)?.has(ip) && state.cache.grantsOf(ip).length > 0);
      for (let at = 0; at < missing.length; at += RESTORED_AT_ONCE, await turn())
        this.#grantAll(state, missing.slice(at, at + RESTORED_AT_ONCE));
    }
  }

  #restoreLine({ endpoint, key, name, ttl, lookedUp, ips }: JournalLine): void {
    const state = this.#endpoints.get(endpoint);
    if (state?.endpoint.key !== key) return;
    const now = this.#deps.now();
    const newer = state.cache.names.get(name);
    const own = ips.filter(([, expires]) => expires > now).map(([ip, expires]) => ({ ip: ip as IpAddress, ttl: expires }));
    const limits = { ipsPerName: this.#settings.maxIpsPerName, addresses: MAX_ADDRESSES, names: MAX_NAMES };
    const told = newer && { ttl: newer.ttl, lookedUp: newer.lookedUp };
    state.cache.learn({ name, own }, lookedUp, (expires) => expires, limits);
    const known = state.cache.names.get(name);
    if (known !== undefined) Object.assign(known, told !== undefined && told.lookedUp > lookedUp ? told : { ttl });
  }

  #grantAll(state: EndpointState, ips: readonly IpAddress[]): void {
    const grants = ips.map((ip) => [ip, this.#grantsOf(state, ip)] as const);
    this.#deps.grants.setMany(
      state.endpoint.id,
      grants.filter(([, list]) => list.length > 0),
    );
    this.#deps.grants.delete(
      state.endpoint.id,
      grants.filter(([, list]) => list.length === 0).map(([ip]) => ip),
    );
    for (const ip of ips) state.deferred.delete(ip);
  }

  /** What the names of an address open; with those that are still to be restored, as the kernel knows them. */
  #grantsOf(state: EndpointState, ip: IpAddress): readonly Grant[] {
    const known = state.cache.grantsOf(ip);
    if (this.#unread?.length === 0) return known;
    const before = this.#deps.grants.get(state.endpoint.id, ip);
    const identities = new Set(known.map(({ identity }) => identity));
    return [...known, ...before.filter(({ identity }) => state.wanted.has(identity) && !identities.has(identity))];
  }

  /** Tells the kernel what the names of an address open. */
  #grant(state: EndpointState, ip: IpAddress): void {
    const grants = this.#grantsOf(state, ip);
    if (grants.length > 0) this.#deps.grants.set(state.endpoint.id, ip, grants);
    else this.#deps.grants.delete(state.endpoint.id, [ip]);
    state.deferred.delete(ip);
  }

  /** The same; when the kernel has no room for more, the endpoint that takes most of it gives some up, so that none fills it at the others' cost. */
  #grantInRoom(state: EndpointState, ip: IpAddress): void {
    try {
      this.#grant(state, ip);
    } catch (thrown) {
      if (!isKernelError(thrown, "E2BIG")) throw thrown;
      const sizeOf = ({ cache, deferred }: EndpointState) => cache.addresses.size + deferred.size;
      const largest = [...this.#endpoints.values()].reduce((a, b) => (sizeOf(b) > sizeOf(a) ? b : a));
      for (const gone of largest.cache.shrink(largest.cache.addresses.size - GIVEN_UP)) largest.deferred.set(gone.ip, gone.name);
      this.evictions += GIVEN_UP;
      this.#letGo(largest, Math.max(0, largest.deferred.size - GIVEN_UP));
      this.#grant(state, ip);
    }
  }

  /** Closes the oldest of those that are kept for connections, until there are no more than so many. */
  #letGo({ endpoint, deferred }: EndpointState, kept: number): void {
    const over: IpAddress[] = [];
    for (let oldest = deferred.oldest(); oldest && deferred.size > kept; oldest = deferred.oldest()) {
      over.push(oldest[0]);
      deferred.delete(oldest[0]);
    }
    this.#deps.grants.delete(endpoint.id, over);
  }

  #remove(id: number, { cache, deferred }: EndpointState): void {
    this.#deps.grants.delete(id, [...cache.addresses.keys(), ...deferred.keys()]);
    this.#endpoints.delete(id);
  }
}

function areSame(some: readonly Grant[], others: readonly Grant[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ identity, expires }) => others.some((other) => other.identity === identity && other.expires === expires))
  );
}

/** Without what was forgotten again. */
function present(lines: readonly JournalLine[]): JournalLine[] {
  const keyOf = ({ endpoint, key, name }: JournalLine) => `${endpoint} ${key} ${name}`;
  const forgotten = new Map(
    lines
      .map((line, i) => [line, i] as const)
      .filter(([{ ips }]) => ips.length === 0)
      .map(([line, i]) => [keyOf(line), i]),
  );
  return lines.filter((line, i) => forgotten.size === 0 || i > (forgotten.get(keyOf(line)) ?? -1));
}

function createState(endpoint: DnsEndpoint, match: (name: string) => readonly number[]): EndpointState {
  const state: Omit<EndpointState, "cache"> = {
    endpoint,
    deferred: new AgedMap(),
    selectors: "",
    wanted: new Set(),
    match,
    sweep: [].values(),
  };
  return Object.assign(state, { cache: new NameCache((name) => state.match(name)) });
}

/** The identities of the selectors that match a name. */
function matcherOf(selectors: readonly NamedIdentity[]): (name: string) => readonly number[] {
  const compiled = selectors.map((one) => ({ identity: one.identity, matches: fqdnMatcher(one) }));
  return (name) => [...new Set(compiled.filter(({ matches }) => matches(name)).map(({ identity }) => identity))];
}
