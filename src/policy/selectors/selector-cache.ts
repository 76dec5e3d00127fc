import { prefixOfLabel } from "#identity/cidr.ts";
import { reservedIdentities } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { holds, type Requirement } from "#labels/selector.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { type Prefix, prefixParts } from "#types/prefix.ts";
import type { PeerSelector } from "../rule.ts";
import { AnchorIndex } from "./anchor-index.ts";
import { type Block, blockOf, fitsBlocks } from "./block.ts";
import { BlockIndex } from "./block-index.ts";
import { IdentityIndex } from "./identity-index.ts";

/** A container port with a name. */
export type NamedPort = { readonly name: string; readonly protocol: number; readonly port: number };

/** An identity that peers may have. */
export type IdentityEntry = {
  readonly id: NumericIdentity;
  readonly labels: LabelSet;
  readonly namedPorts?: readonly NamedPort[];
  /** It stands for a name, beside the identity of the address that the name has: blocks with exceptions, one of which that may be, do not take it. */
  readonly beside?: boolean;
};

/** What a change of identities did: which one came or went, and the selectors that took it or lost it. A replaced one does both. */
export type IdentityChange = {
  readonly id: NumericIdentity;
  readonly kind: "added" | "removed";
  /** Absent when nobody knows: then all have to be asked. */
  readonly selectors?: readonly CachedSelector[];
};

/** Who uses a selector. */
export type SelectorUser = object;

/** A peer selector in use, with the identities that it selects now. */
export type CachedSelector = {
  readonly peer: PeerSelector;
  readonly identities: ReadonlySet<NumericIdentity>;
  readonly users: ReadonlySet<SelectorUser>;
};

/** What every identity that a selector takes has: a label, an address block, or nothing in particular. */
type Anchor = Requirement | "block" | "nothing";
/** Identities that a selector may take, the label by which they are fewest, and what of its requirements they still have to meet. */
type Narrowed = { readonly anchor: Anchor; readonly ids: Iterable<NumericIdentity>; readonly left: readonly Requirement[] };
type Known = { readonly entry: IdentityEntry; readonly prefix: Prefix | undefined; readonly block: Block | undefined };
type Live = {
  readonly peer: PeerSelector;
  readonly identities: Set<NumericIdentity>;
  readonly users: Set<SelectorUser>;
  /** What identities that come must have at least. */
  readonly anchor: Anchor;
};

/** Whether an identity with these labels, standing for this address block, is among the peers. `any` covers it too. */
export function selects(peer: PeerSelector, labels: LabelSet, prefix: Prefix | undefined): boolean {
  return selectsBlock(peer, labels, prefix === undefined ? undefined : blockOf(prefix));
}

function selectsBlock(peer: PeerSelector, labels: LabelSet, block: Block | undefined): boolean {
  return peer.any || (!peer.none && selectsBy(peer, peer.requirements, labels, block));
}

/** Whether a selector takes them as far as these of its requirements go. */
function selectsBy(peer: PeerSelector, requirements: readonly Requirement[], labels: LabelSet, block: Block | undefined): boolean {
  if (!fitsBlocks(peer, block)) return false;
  if (peer.source !== undefined && !labels.has(peer.source)) return false;
  if (peer.outside === true && !isOutside(labels)) return false;
  if (peer.orFamily !== undefined && block?.family === peer.orFamily) return true;
  for (const one of requirements) if (!holds(one, labels)) return false;
  return true;
}

function selectsEntry(
  peer: PeerSelector,
  left: readonly Requirement[],
  { labels, beside }: IdentityEntry,
  block: Block | undefined,
): boolean {
  if (peer.any || peer.none) return peer.any;
  return !(beside === true && peer.except.length > 0) && selectsBy(peer, left, labels, block);
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

/** So many are tried one by one rather than narrowed down by one more label, whose index may have to be made of all identities. */
const fewEnough = 100;

/** The labels each of which every selected identity must have: selectors and identities find each other through one. The namespace comes first. */
function anchorsOf(peer: PeerSelector): Requirement[] {
  if (peer.orFamily !== undefined) return [];
  const anchors = peer.requirements.filter((one) => one.operator === "Exists" || (one.operator === "In" && one.values.length === 1));
  const place = anchors.findIndex(({ key, operator }) => key === labelKey.namespace && operator === "In");
  return place > 0 ? [...anchors.splice(place, 1), ...anchors] : anchors;
}

/** The live sets of identities behind peer selectors. Not persistent: it is one node's view, changed by `update`. */
export interface SelectorCache {
  /** Adds and removes identities; adding a known number replaces it. Gives what changed, in order. */
  update(change: { readonly add?: readonly IdentityEntry[]; readonly remove?: readonly NumericIdentity[] }): IdentityChange[];
  /** Takes a selector into use and gives its live set. */
  acquire(peer: PeerSelector, user: SelectorUser): CachedSelector;
  /** That user needs it no longer; a selector that nobody uses is forgotten. */
  release(peer: PeerSelector, user: SelectorUser): void;
  entry(id: NumericIdentity): IdentityEntry | undefined;
  labels(id: NumericIdentity): LabelSet | undefined;
  prefix(id: NumericIdentity): Prefix | undefined;
  identities(): IterableIterator<NumericIdentity>;
  /** The selectors in use, for people. */
  selectors(): { readonly text: string; readonly identities: NumericIdentity[]; readonly users: number }[];
}

function optional<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}

/** Those who use a selector that some of the changes are about: nobody else has to look at them. */
export function usersOf(changes: readonly IdentityChange[]): ReadonlySet<SelectorUser> {
  const users = new Set<SelectorUser>();
  for (const { selectors = [] } of changes) for (const one of selectors) for (const user of one.users) users.add(user);
  return users;
}

/** Starts a cache that holds the reserved identities. */
export function createSelectorCache(): SelectorCache {
  const known = new Map<NumericIdentity, Known>();
  const live = new Map<string, Live>();
  const identityIndex = new IdentityIndex(() => known.values().map(({ entry }) => entry));
  const byLabel = new AnchorIndex<Live>();
  const elsewhere = { block: new Set<Live>(), nothing: new Set<Live>() };
  const byBlock = new BlockIndex();

  /** Calls back with all selectors that an identity may meet. */
  function forEachCandidate(labels: LabelSet, block: Block | undefined, visit: (selector: Live) => void): void {
    byLabel.forEach(labels.labels, visit);
    if (block !== undefined) elsewhere.block.forEach(visit);
    elsewhere.nothing.forEach(visit);
  }

  function forget(id: NumericIdentity): IdentityChange | undefined {
    const one = known.get(id);
    if (one === undefined) return undefined;
    known.delete(id);
    if (one.block !== undefined) byBlock.delete(one.block, id);
    identityIndex.delete(one.entry);
    const selectors: Live[] = [];
    forEachCandidate(one.entry.labels, one.block, (selector) => {
      if (selector.identities.delete(id) || selector.peer.any) selectors.push(selector);
    });
    return { id, kind: "removed", selectors };
  }

  function learn(entry: IdentityEntry): IdentityChange {
    const prefix = prefixOfLabels(entry.labels);
    const block = prefix === undefined ? undefined : blockOf(prefix);
    known.set(entry.id, { entry, prefix, block });
    if (block !== undefined) byBlock.add(block, entry.id);
    identityIndex.add(entry);
    const selectors: Live[] = [];
    forEachCandidate(entry.labels, block, (selector) => {
      if (!selectsEntry(selector.peer, selector.peer.requirements, entry, block)) return;
      // Everybody is not listed.
      if (!selector.peer.any) selector.identities.add(entry.id);
      selectors.push(selector);
    });
    return { id: entry.id, kind: "added", selectors };
  }

  /** Identities by the labels that a selector needs, until they are few. */
  function narrowByLabels(peer: PeerSelector): Narrowed {
    const anchors = anchorsOf(peer);
    const met = new Set<Requirement>();
    let ids: ReadonlySet<NumericIdentity> | undefined;
    let [anchor, fewest] = [anchors[0], Number.POSITIVE_INFINITY];
    for (const one of anchors) {
      const those = identityIndex.of(one);
      if (those === undefined) continue;
      met.add(one);
      if (those.size < fewest) [anchor, fewest] = [one, those.size];
      ids = ids?.intersection(those) ?? those;
      if (ids.size <= fewEnough) break;
    }
    return { anchor: anchor ?? "nothing", ids: ids ?? known.keys(), left: peer.requirements.filter((one) => !met.has(one)) };
  }

  function narrow(peer: PeerSelector): Narrowed {
    if (peer.any || peer.none) return { anchor: "nothing", ids: [], left: [] };
    if (peer.within === undefined) return narrowByLabels(peer);
    return { anchor: "block", ids: byBlock.within(blockOf(peer.within)), left: peer.requirements };
  }

  function create(peer: PeerSelector): Live {
    const { anchor, ids, left } = narrow(peer);
    const selector: Live = { peer, identities: new Set(), users: new Set(), anchor };
    for (const id of ids) {
      const one = known.get(id);
      if (one !== undefined && selectsEntry(peer, left, one.entry, one.block)) selector.identities.add(id);
    }
    if (typeof anchor === "string") elsewhere[anchor].add(selector);
    else byLabel.add(anchor, selector);
    live.set(peer.text, selector);
    return selector;
  }

  function destroy(selector: Live): void {
    const { anchor, peer } = selector;
    live.delete(peer.text);
    if (typeof anchor === "string") elsewhere[anchor].delete(selector);
    else byLabel.delete(anchor, selector);
  }

  function update({
    add = [],
    remove = [],
  }: {
    readonly add?: readonly IdentityEntry[];
    readonly remove?: readonly NumericIdentity[];
  }): IdentityChange[] {
    const changes: IdentityChange[] = [];
    for (const id of remove) changes.push(...optional(forget(id)));
    for (const entry of add) changes.push(...optional(forget(entry.id)), learn(entry));
    return changes;
  }

  update({ add: reservedIdentities() });

  return {
    update,
    acquire(peer, user) {
      const selector = live.get(peer.text) ?? create(peer);
      selector.users.add(user);
      return selector;
    },
    release(peer, user) {
      const selector = live.get(peer.text);
      if (selector?.users.delete(user) === true && selector.users.size === 0) destroy(selector);
    },
    entry: (id) => known.get(id)?.entry,
    labels: (id) => known.get(id)?.entry.labels,
    prefix: (id) => known.get(id)?.prefix,
    identities: () => known.keys(),
    selectors: () =>
      [...live.values()].map(({ peer, identities, users }) => ({
        text: peer.text,
        identities: [...identities].sort((a, b) => a - b),
        users: users.size,
      })),
  };
}
