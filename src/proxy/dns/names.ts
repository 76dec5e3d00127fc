import { setImmediate as turn } from "node:timers/promises";
import type { KnownName, Lost } from "#fqdn/cache.ts";
import { fqdnMatcher } from "#fqdn/pattern.ts";
import type { Logger } from "#runtime/logger.ts";
import { isKernelError } from "#sys/kernel-error.ts";
import type { IpAddress } from "#types/addr.ts";
import { EndpointNames } from "./endpoint-names.ts";
import type { Grant, GrantMap } from "./grants.ts";
import type { JournalLine } from "./journal.ts";
import { connectionKey, type FindLive } from "./live-connections.ts";
import { DEFAULT_DNS_SETTINGS, type DnsCacheEntry, type DnsEndpoint, type DnsPolicyMessage, type DnsSettings } from "./protocol.ts";

/** Addresses that are closed together, and at most in one sweep: it takes less than one by one, and no query has to wait long. */
const LET_GO = 64;
const SWEPT_ADDRESSES = 2000;
/** Addresses that are restored, or judged, between two looks at what else there is to do. */
const AT_ONCE = 256;
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

export interface NameCounts {
  names: number;
  addresses: number;
  deferred: number;
}

/** What endpoints learned by name: their caches, and through them the kernel's map. */
export class Names {
  readonly #deps: NamesDeps;
  readonly #endpoints = new Map<number, EndpointNames>();
  #settings = DEFAULT_DNS_SETTINGS;
  /** What of the journal is not in the caches yet, the next one last; undefined before it is read. */
  #unread: JournalLine[] | undefined;
  #hasPolicy = false;
  #isRestoring = false;
  /** Resolves when all is there that was learned before. What is learned meanwhile is allowed at once. */
  restored: Promise<void> = Promise.resolve();
  #searching = false;
  #began = 0;
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
    const { changed, evicted } = state.learn(name, own, now, this.#settings);
    this.evictions += evicted.length;
    this.#retire(state, evicted);
    for (const ip of changed) this.#grantInRoom(state, ip);
    const known = state.cache.names.get(name);
    if (changed.length === 0 || known === undefined) return;
    const ips = changed.map((ip) => [ip, known.ips.get(ip) ?? 0] as const);
    this.#deps.journal({ endpoint: endpointId, key: state.endpoint.key, name, ttl: known.ttl, lookedUp: now, ips });
  }

  /** Forgets some of what has expired; call it every second or so. */
  sweep(): void {
    const now = this.#deps.now();
    for (const state of this.#endpoints.values()) {
      const { lost, names } = state.expire(now);
      this.expired += names;
      this.#retire(state, lost);
      this.#letGo(state, Math.max(this.#settings.maxDeferred, state.zombies.addresses.size - SWEPT_ADDRESSES));
    }
  }

  /** Closes what has expired and no connection uses. Resolves when it is done; a second call meanwhile does nothing. */
  async collect(): Promise<void> {
    const states = [...this.#endpoints.values()];
    const wanted = new Set(
      states.flatMap(({ endpoint, zombies }) => [...zombies.addresses.keys()].map((ip) => connectionKey(endpoint.id, ip))),
    );
    if (wanted.size === 0 || this.#searching) return;
    this.#searching = true;
    try {
      const began = this.#deps.now();
      const live = await this.#deps.findLive(wanted);
      for (const state of states) await this.#judge(state, wanted, live, began);
      this.#searched = Date.now();
    } finally {
      this.#searching = false;
    }
  }

  /** What a search has shown of an endpoint's zombies. */
  async #judge(state: EndpointNames, wanted: ReadonlySet<string>, live: ReadonlySet<string>, began: number): Promise<void> {
    const { id } = state.endpoint;
    const over: IpAddress[] = [];
    for (const [i, ip] of [...state.zombies.addresses.keys()].entries()) {
      if (i % AT_ONCE === AT_ONCE - 1) await turn();
      if (this.#endpoints.get(id) !== state) return;
      const key = connectionKey(id, ip);
      if (!wanted.has(key) || !state.zombies.addresses.has(ip)) continue;
      if (this.#isOver(state, ip, live.has(key), began)) over.push(ip);
    }
    for (const ip of over) state.zombies.drop(ip);
    const beyond = state.limit(this.#settings.maxIpsPerName, (ip) => live.has(connectionKey(id, ip)));
    const closed = [...new Set([...over, ...unique(beyond)])];
    for (let at = 0; at < closed.length && this.#endpoints.get(id) === state; at += AT_ONCE, await turn())
      this.#grantAll(state, closed.slice(at, at + AT_ONCE));
  }

  /**
   * Whether a zombie goes. An address that no connection uses is closed first, and goes only when the next search finds none either: one may have begun at the last moment,
   * and it goes on.
   */
  #isOver(state: EndpointNames, ip: IpAddress, isLive: boolean, began: number): boolean {
    const { id } = state.endpoint;
    const used = this.#deps.grants.usedAt(id, ip);
    if (isLive) {
      state.zombies.refresh(ip);
      if (used === 0) this.#deps.grants.setUsed(id, ip, began);
      return false;
    }
    if (used >= began || state.isAhead(ip, began)) return false;
    if (used > 0) this.#deps.grants.setUsed(id, ip, 0);
    return used === 0;
  }

  /** Forgets names and what they opened. */
  clean(matchPattern: string | undefined): readonly DnsCacheEntry[] {
    const matches = matchPattern === undefined ? () => true : fqdnMatcher({ matchPattern });
    const gone = [...this.entries()].filter(({ name }) => matches(name));
    for (const state of this.#endpoints.values()) {
      const lost = [state.cache, state.zombies].flatMap((cache) =>
        [...cache.names.values()].filter(({ name }) => matches(name)).flatMap((known) => cache.forget(known)),
      );
      this.#grantAll(state, unique(lost));
      const { id, key } = state.endpoint;
      for (const name of new Set(lost.map((one) => one.name)))
        this.#deps.journal({ endpoint: id, key, name, ttl: 0, lookedUp: 0, ips: [] });
    }
    return gone;
  }

  *entries(): Generator<DnsCacheEntry> {
    const toWall = this.#toWall();
    const searched = this.#searched;
    for (const { endpoint, cache, zombies } of this.#endpoints.values()) {
      const endpointId = endpoint.id;
      for (const { name, ips, ttl, lookedUp } of cache.names.values()) {
        const expires = toWall + Math.max(...ips.values()) * 1000;
        yield { endpointId, name, ips: [...ips.keys()], ttl, lookupTime: toWall + lookedUp * 1000, expires, source: "lookup" };
      }
      for (const { name, ips } of zombies.names.values())
        for (const ip of ips.keys())
          yield { endpointId, name, ips: [ip], ttl: 0, lookupTime: searched, expires: searched, source: "connection" };
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
    for (const { endpoint, cache, zombies } of this.#endpoints.values()) {
      const line = ({ name, ttl, lookedUp, ips }: KnownName) => ({
        endpoint: endpoint.id,
        key: endpoint.key,
        name,
        ttl,
        lookedUp,
        ips: [...ips],
      });
      for (const known of zombies.names.values()) yield line(known);
      for (const known of cache.names.values()) yield line(known);
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
    for (const [id, { cache, zombies }] of this.#endpoints)
      yield [id, { names: cache.names.size, addresses: cache.addresses.size, deferred: zombies.addresses.size }];
  }

  /** When the monotonic clock began, milliseconds since 1970. It tells seconds only; the answer stays, so that times are the same at every look, until the wall clock is set. */
  #toWall(): number {
    const began = Date.now() - this.#deps.now() * 1000;
    if (Math.abs(began - this.#began) >= 1000) this.#began = began;
    return this.#began;
  }

  #setEndpoint(endpoint: DnsEndpoint): void {
    const state = this.#endpoints.get(endpoint.id) ?? new EndpointNames(endpoint);
    this.#endpoints.set(endpoint.id, state);
    this.#grantAll(state, state.select(endpoint.selectors));
  }

  #beginRestoring(): void {
    const unread = this.#unread;
    if (!this.#hasPolicy || this.#isRestoring || unread === undefined) return;
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
      for (let addresses = 0; addresses < AT_ONCE; ) {
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
      if (++seen % AT_ONCE === 0) await turn();
      const state = this.#endpoints.get(endpointId);
      if (state === undefined) {
        // Its number may be another's one day.
        this.#deps.grants.delete(endpointId, [ip]);
        continue;
      }
      found.get(endpointId)?.add(ip);
      dropClosed(state, ip, grants);
      const known = state.grantsOf(ip);
      if (known.length > 0 ? !areSame(known, grants) : state.cache.addresses.has(ip)) this.#grantAll(state, [ip]);
      else if (known.length === 0) this.#retireUnknown(state, ip);
    }
    for (const [id, state] of this.#endpoints) {
      const isMissing = (ip: IpAddress) => !found.get(id)?.has(ip);
      for (const ip of [...state.zombies.addresses.keys()].filter(isMissing)) state.zombies.drop(ip);
      const missing = [...state.cache.addresses.keys()].filter((ip) => isMissing(ip) && state.cache.grantsOf(ip).length > 0);
      for (let at = 0; at < missing.length; at += AT_ONCE, await turn()) this.#grantAll(state, missing.slice(at, at + AT_ONCE));
    }
  }

  #restoreLine({ endpoint, key, name, ttl, lookedUp, ips }: JournalLine): void {
    const state = this.#endpoints.get(endpoint);
    if (state?.endpoint.key !== key) return;
    const known = ips.map(([ip, expires]) => [ip as IpAddress, expires] as const);
    state.restore({ name, ttl, lookedUp, ips: known }, this.#deps.now(), this.#settings);
  }

  #grantAll(state: EndpointNames, ips: readonly IpAddress[]): void {
    const { id } = state.endpoint;
    const grants = ips.map((ip) => [ip, this.#grantsOf(state, ip)] as const);
    const isOpen = ([, list]: (typeof grants)[number]) => list.length > 0;
    this.#deps.grants.setMany(id, grants.filter(isOpen));
    const closed = grants.filter((one) => !isOpen(one)).map(([ip]) => ip);
    this.#deps.grants.delete(id, closed);
  }

  /** What the names of an address open; with those that are still to be restored, as the kernel knows them. */
  #grantsOf(state: EndpointNames, ip: IpAddress): readonly Grant[] {
    const known = state.grantsOf(ip);
    if (this.#unread?.length === 0) return known;
    const before = this.#deps.grants.get(state.endpoint.id, ip);
    const identities = new Set(known.map(({ identity }) => identity));
    return [...known, ...before.filter(({ identity }) => state.wanted.has(identity) && !identities.has(identity))];
  }

  /** Tells the kernel what the names of an address open. */
  #grant(state: EndpointNames, ip: IpAddress): void {
    const grants = this.#grantsOf(state, ip);
    if (grants.length > 0) this.#deps.grants.set(state.endpoint.id, ip, grants);
    else this.#deps.grants.delete(state.endpoint.id, [ip]);
  }

  /** The same; when the kernel has no room for more, the endpoint that takes most of it gives some up, so that none fills it at the others' cost. */
  #grantInRoom(state: EndpointNames, ip: IpAddress): void {
    try {
      this.#grant(state, ip);
    } catch (thrown) {
      if (!isKernelError(thrown, "E2BIG")) throw thrown;
      const largest = [...this.#endpoints.values()].reduce((a, b) => (b.size > a.size ? b : a));
      this.#retire(largest, largest.cache.shrink(largest.cache.addresses.size - GIVEN_UP));
      this.evictions += GIVEN_UP;
      this.#letGo(largest, Math.max(0, largest.zombies.addresses.size - GIVEN_UP));
      this.#grant(state, ip);
    }
  }

  /** What names have lost is kept as long as connections may use it. */
  #retire(state: EndpointNames, lost: readonly Lost[]): void {
    if (lost.length === 0) return;
    state.retire(lost);
    if (state.zombies.addresses.size >= this.#settings.maxDeferred + LET_GO) this.#letGo(state, this.#settings.maxDeferred);
  }

  /** No name explains the address: what has begun goes on, and nothing begins beyond its time. */
  #retireUnknown(state: EndpointNames, ip: IpAddress): void {
    this.#deps.grants.setUsed(state.endpoint.id, ip, 0);
    this.#retire(state, [{ ip, name: "", expires: 0 }]);
  }

  /** Gives up the zombies that were used least recently, until there are no more than so many. */
  #letGo(state: EndpointNames, kept: number): void {
    if (state.zombies.addresses.size > kept) this.#grantAll(state, unique(state.zombies.shrink(kept)));
  }

  #remove(id: number, { cache, zombies }: EndpointNames): void {
    this.#deps.grants.delete(id, [...cache.addresses.keys(), ...zombies.addresses.keys()]);
    this.#endpoints.delete(id);
  }
}

/** Names that were over for the kernel already stay so. */
function dropClosed({ zombies }: EndpointNames, ip: IpAddress, grants: readonly Grant[]): void {
  const isOpen = ({ identities }: KnownName) => identities.some((identity) => grants.some((grant) => grant.identity === identity));
  for (const known of zombies.ownersOf(ip)) if (!isOpen(known)) zombies.take(known, ip);
}

function unique(lost: readonly Lost[]): IpAddress[] {
  return [...new Set(lost.map(({ ip }) => ip))];
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
