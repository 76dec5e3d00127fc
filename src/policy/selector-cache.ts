import { prefixOfLabel } from "#identity/cidr.ts";
import { reservedIdentities } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { holds, type Requirement } from "#labels/selector.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixParts } from "#types/prefix.ts";
import { type Block, blockOf, fitsBlocks } from "./block.ts";
import type { PeerSelector } from "./rule.ts";

/** A container port with a name. */
export type NamedPort = { readonly name: string; readonly protocol: number; readonly port: number };

/** An identity that peers may have. */
export type IdentityEntry = { readonly id: NumericIdentity; readonly labels: LabelSet; readonly namedPorts?: readonly NamedPort[] };

/** What a change of identities did: which one came or went. A replaced one does both. */
export type IdentityChange = { readonly id: NumericIdentity; readonly kind: "added" | "removed" };

/** A peer selector in use, with the identities that it selects now. */
export type CachedSelector = { readonly peer: PeerSelector; readonly identities: ReadonlySet<NumericIdentity>; readonly users: number };

type Known = { readonly entry: IdentityEntry; readonly prefix: Prefix | undefined; readonly block: Block | undefined };
type Live = { readonly peer: PeerSelector; readonly identities: Set<NumericIdentity>; users: number };

/** Whether an identity with these labels, standing for this address block, is among the peers. `any` covers it too. */
export function selects(peer: PeerSelector, labels: LabelSet, prefix: Prefix | undefined): boolean {
  return selectsBlock(peer, labels, prefix === undefined ? undefined : blockOf(prefix));
}

function selectsBlock(peer: PeerSelector, labels: LabelSet, block: Block | undefined): boolean {
  if (peer.any) return true;
  if (peer.none) return false;
  if (!fitsBlocks(peer, block)) return false;
  if (peer.source !== undefined && !labels.has(peer.source)) return false;
  if (peer.outside === true && !isOutside(labels)) return false;
  if (peer.orFamily !== undefined && block?.family === peer.orFamily) return true;
  for (const one of peer.requirements) if (!holds(one, labels)) return false;
  return true;
}

function isOutside(labels: LabelSet): boolean {
  return ["world", "world-ipv4", "world-ipv6"].some((name) => labels.get("reserved", name) !== undefined);
}

/** The address block that an identity stands for, from its `cidr:` label; the longest where there are several. */
export function prefixOfLabels(labels: LabelSet): Prefix | undefined {
  let best: Prefix | undefined;
  for (const one of labels.labels) {
    const prefix = prefixOfLabel(one);
    if (prefix !== undefined && (best === undefined || prefixParts(prefix).bits > prefixParts(best).bits)) best = prefix;
  }
  return best;
}

/** The labels each of which every selected identity must have: selectors and identities find each other through one. */
function anchorsOf(peer: PeerSelector): Requirement[] {
  if (peer.orFamily !== undefined) return [];
  return peer.requirements.filter((one) => one.operator === "Exists" || (one.operator === "In" && one.values.length === 1));
}

/** The anchor under which a selector waits for identities to come: the narrowest by its looks. */
function anchorOf(peer: PeerSelector): Requirement | undefined {
  // The cluster's own label is on everything, and a namespace is on more than a user's label.
  const breadth = ({ key }: Requirement) => (key === labelKey.cluster ? 2 : key === labelKey.namespace ? 1 : 0);
  const score = (one: Requirement) => breadth(one) + (one.operator === "In" ? 0 : 3);
  return anchorsOf(peer).sort((a, b) => score(a) - score(b))[0];
}

function anchorKey({ key, operator, values }: Requirement): string {
  return operator === "In" ? `${key}=${values[0]}` : key;
}

/** The live sets of identities behind peer selectors. Not persistent: it is one node's view, changed by `update`. */
export interface SelectorCache {
  /** Adds and removes identities; adding a known number replaces it. Gives what changed, in order. */
  update(change: { readonly add?: readonly IdentityEntry[]; readonly remove?: readonly NumericIdentity[] }): IdentityChange[];
  /** Takes a selector into use (counted) and gives its live set. */
  acquire(peer: PeerSelector): CachedSelector;
  /** One use less; an unused selector is forgotten. */
  release(peer: PeerSelector): void;
  entry(id: NumericIdentity): IdentityEntry | undefined;
  labels(id: NumericIdentity): LabelSet | undefined;
  prefix(id: NumericIdentity): Prefix | undefined;
  identities(): IterableIterator<NumericIdentity>;
  /** The selectors in use, for people. */
  selectors(): { readonly text: string; readonly identities: NumericIdentity[]; readonly users: number }[];
}

/** An index from labels (`key` and `key=value`) to things. */
class LabelIndex<T> {
  readonly #buckets = new Map<string, Set<T>>();

  add(key: string, value: T): void {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) this.#buckets.set(key, new Set([value]));
    else bucket.add(value);
  }

  delete(key: string, value: T): void {
    const bucket = this.#buckets.get(key);
    if (bucket?.delete(value) === true && bucket.size === 0) this.#buckets.delete(key);
  }

  get(key: string): ReadonlySet<T> | undefined {
    return this.#buckets.get(key);
  }
}

/** Starts a cache that holds the reserved identities. */
export function createSelectorCache(): SelectorCache {
  const known = new Map<NumericIdentity, Known>();
  const live = new Map<string, Live>();
  const identityIndex = new LabelIndex<NumericIdentity>();
  const selectorIndex = new LabelIndex<Live>();
  const unanchored = new Set<Live>();
  const withPrefix = new Set<NumericIdentity>();

  function* candidates(labels: LabelSet): Generator<Live> {
    for (const { key, value } of labels.labels) {
      yield* selectorIndex.get(key) ?? [];
      yield* selectorIndex.get(`${key}=${value}`) ?? [];
    }
    yield* unanchored;
  }

  function forget(id: NumericIdentity): boolean {
    const one = known.get(id);
    if (one === undefined) return false;
    known.delete(id);
    withPrefix.delete(id);
    for (const { key, value } of one.entry.labels.labels) {
      identityIndex.delete(key, id);
      identityIndex.delete(`${key}=${value}`, id);
    }
    for (const selector of candidates(one.entry.labels)) selector.identities.delete(id);
    return true;
  }

  function learn(entry: IdentityEntry): void {
    const prefix = prefixOfLabels(entry.labels);
    const block = prefix === undefined ? undefined : blockOf(prefix);
    known.set(entry.id, { entry, prefix, block });
    if (prefix !== undefined) withPrefix.add(entry.id);
    for (const { key, value } of entry.labels.labels) {
      identityIndex.add(key, entry.id);
      identityIndex.add(`${key}=${value}`, entry.id);
    }
    for (const selector of candidates(entry.labels))
      if (selectsBlock(selector.peer, entry.labels, block)) selector.identities.add(entry.id);
  }

  /** The known identities that a selector may select: the smallest set that is at hand. */
  function scanned(peer: PeerSelector): Iterable<NumericIdentity> {
    if (peer.within !== undefined) return withPrefix;
    let best: ReadonlySet<NumericIdentity> | undefined;
    for (const one of anchorsOf(peer)) {
      const bucket = identityIndex.get(anchorKey(one));
      if (bucket === undefined) return [];
      if (best === undefined || bucket.size < best.size) best = bucket;
    }
    return best ?? known.keys();
  }

  function fill(selector: Live): void {
    for (const id of scanned(selector.peer)) {
      const one = known.get(id);
      if (one !== undefined && selectsBlock(selector.peer, one.entry.labels, one.block)) selector.identities.add(id);
    }
    const anchor = anchorOf(selector.peer);
    if (anchor === undefined) unanchored.add(selector);
    else selectorIndex.add(anchorKey(anchor), selector);
  }

  function update({
    add = [],
    remove = [],
  }: {
    readonly add?: readonly IdentityEntry[];
    readonly remove?: readonly NumericIdentity[];
  }): IdentityChange[] {
    const changes: IdentityChange[] = [];
    for (const id of remove) if (forget(id)) changes.push({ id, kind: "removed" });
    for (const entry of add) {
      if (forget(entry.id)) changes.push({ id: entry.id, kind: "removed" });
      learn(entry);
      changes.push({ id: entry.id, kind: "added" });
    }
    return changes;
  }

  update({ add: reservedIdentities() });

  return {
    update,
    acquire(peer) {
      const present = live.get(peer.text);
      if (present !== undefined) {
        present.users++;
        return present;
      }
      const selector: Live = { peer, identities: new Set(), users: 1 };
      live.set(peer.text, selector);
      if (!peer.any && !peer.none) fill(selector);
      return selector;
    },
    release(peer) {
      const selector = live.get(peer.text);
      if (selector === undefined) return;
      selector.users--;
      if (selector.users > 0) return;
      live.delete(peer.text);
      unanchored.delete(selector);
      const anchor = anchorOf(peer);
      if (anchor !== undefined) selectorIndex.delete(anchorKey(anchor), selector);
    },
    entry: (id) => known.get(id)?.entry,
    labels: (id) => known.get(id)?.entry.labels,
    prefix: (id) => known.get(id)?.prefix,
    identities: () => known.keys(),
    selectors: () =>
      [...live.values()].map(({ peer, identities, users }) => ({
        text: peer.text,
        identities: [...identities].sort((a, b) => a - b),
        users,
      })),
  };
}
