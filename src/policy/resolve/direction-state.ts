import type { Direction } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import type { CachedSelector, IdentityChange, NamedPort, SelectorCache } from "../selectors/selector-cache.ts";
import { type Chain, chainOf, distill, type Row } from "./distill.ts";
import type { Filter, Redirect } from "./filter.ts";
import type { EndpointPolicy, MapDelta, PolicyMapEntry, Subject } from "./resolve.ts";

/** The identities' rows of one direction. */
export type DirectionState = {
  readonly direction: Direction;
  readonly outer: Chain;
  readonly outerRows: readonly Row[];
  readonly selectors: readonly SelectorFilters[];
  /** The positions of the selectors. */
  readonly positions: ReadonlyMap<CachedSelector, number>;
  readonly defaultDeny: boolean;
  /** True when a filter of a peer has a named port, which on egress differs between identities. */
  readonly namedPorts: boolean;
  readonly rows: Map<NumericIdentity, readonly Row[]>;
  /** No selector at all. */
  readonly root: Selection;
};

type SelectorFilters = { readonly cached: CachedSelector; readonly filters: readonly Filter[] };

/** A set of selectors, in a tree by their positions: identities that the same ones select have the same rows. */
class Selection {
  readonly selectors: readonly SelectorFilters[];
  #next: Map<number, Selection> | undefined;
  /** By the named ports of the identity; under the empty text where these do not matter. */
  readonly rows = new Map<string, readonly Row[]>();

  constructor(selectors: readonly SelectorFilters[]) {
    this.selectors = selectors;
  }

  /** This and one more, of a higher position. */
  with(position: number, selector: SelectorFilters): Selection {
    const known = this.#next?.get(position);
    if (known !== undefined) return known;
    const next = new Selection([...this.selectors, selector]);
    this.#next ??= new Map();
    this.#next.set(position, next);
    return next;
  }
}

/** What a state is made of: the filters of one direction. */
export type DirectionFilters = { readonly direction: Direction; readonly filters: readonly Filter[]; readonly defaultDeny: boolean };

/** Distils filters into the rows of all identities. `policy` becomes a user of their selectors, which it must release. */
export function createDirectionState(
  { direction, filters, defaultDeny }: DirectionFilters,
  cache: SelectorCache,
  policy: EndpointPolicy,
): DirectionState {
  const { subject } = policy;
  // On ingress named ports are the subject's own; towards any peer on egress there are none to look up.
  const outerPorts = direction === "ingress" ? subject.namedPorts : [];
  const outer = chainOf(
    filters.filter((one) => one.peer.any),
    outerPorts,
  );
  const bySelector = new Map<string, Filter[]>();
  for (const one of filters) {
    if (one.peer.any) {
      // An any-peer filter of a named port concerns each identity that has the port.
      if (direction === "egress" && one.spec.name !== "") push(bySelector, one);
    } else push(bySelector, one);
  }
  const selectors = [...bySelector.values()].map((list) => ({ cached: cache.acquire((list[0] as Filter).peer, policy), filters: list }));
  const state: DirectionState = {
    direction,
    outer,
    outerRows: distill(outer, outer, defaultDeny),
    selectors,
    positions: new Map(selectors.map(({ cached }, i) => [cached, i])),
    defaultDeny,
    namedPorts: direction === "egress" && filters.some((one) => one.spec.name !== ""),
    rows: new Map(),
    root: new Selection([]),
  };
  fillRows(state, cache, subject);
  return state;
}

function push(map: Map<string, Filter[]>, filter: Filter): void {
  const list = map.get(filter.peer.text);
  if (list === undefined) map.set(filter.peer.text, [filter]);
  else list.push(filter);
}

function fillRows(state: DirectionState, cache: SelectorCache, subject: Subject): void {
  const selections = new Map<NumericIdentity, Selection>();
  for (const [i, selector] of state.selectors.entries()) {
    const { cached } = selector;
    // Identities of one selector mostly were together in those before.
    let [from, to]: (Selection | undefined)[] = [];
    for (const id of cached.peer.any ? cache.identities() : cached.identities) {
      const selection = selections.get(id) ?? state.root;
      if (to === undefined || selection !== from) {
        from = selection;
        to = selection.with(i, selector);
      }
      selections.set(id, to);
    }
  }
  for (const [id, selection] of selections) {
    const rows = rowsFor(state, cache, subject, id, selection);
    if (rows.length > 0) state.rows.set(id, rows);
  }
}

const noRows: readonly Row[] = [];
const noPorts: readonly NamedPort[] = [];

/** The rows of one identity: those of all identities in the same selectors (with the same named ports, where they matter) are one list. */
function rowsFor(state: DirectionState, cache: SelectorCache, subject: Subject, id: NumericIdentity, selection: Selection): readonly Row[] {
  if (selection === state.root) return noRows;
  const theirs = state.namedPorts ? (cache.entry(id)?.namedPorts ?? noPorts) : noPorts;
  const ports = theirs.length === 0 ? "" : theirs.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).join();
  const known = selection.rows.get(ports);
  if (known !== undefined) return known;
  const filters = selection.selectors.flatMap((one) => one.filters);
  const chain = chainOf(filters, state.direction === "ingress" ? subject.namedPorts : theirs);
  const rows = distill(chain, state.outer, state.defaultDeny);
  selection.rows.set(ports, rows);
  return rows;
}

/** A row as an entry of one identity. */
export function entryOf(direction: Direction, identity: NumericIdentity, row: Row): PolicyMapEntry {
  const { redirect, auth, ...rest } = row;
  return {
    direction,
    identity,
    ...rest,
    ...(redirect === undefined ? {} : { proxy: proxyOf(redirect, direction) }),
    ...(auth === undefined ? {} : { auth }),
  };
}

function proxyOf({ parser, listener, priority }: Redirect, direction: Direction): NonNullable<PolicyMapEntry["proxy"]> {
  if (listener !== undefined) return { parser, listener, priority, key: `crd:${listener}` };
  // Server names and TLS are judged by the same proxy as HTTP.
  return { parser, priority, key: `${parser === "tls" ? "http" : parser}-${direction}` };
}

/** All rows as entries, those for any peer first. */
export function allEntries(state: DirectionState): PolicyMapEntry[] {
  const entries = state.outerRows.map((row) => entryOf(state.direction, reservedIdentity.unknown, row));
  for (const [id, rows] of state.rows) for (const row of rows) entries.push(entryOf(state.direction, id, row));
  return entries;
}

/** How many entries `allEntries` would give. */
export function entryCount({ outerRows, rows }: DirectionState): number {
  let count = outerRows.length;
  for (const list of rows.values()) count += list.length;
  return count;
}

/** The selectors of a direction that take an identity now. */
function selectionOf(state: DirectionState, { id, selectors }: IdentityChange): Selection {
  const found: number[] = [];
  if (selectors === undefined) {
    for (const [cached, i] of state.positions) if (cached.peer.any || cached.identities.has(id)) found.push(i);
  } else {
    for (const one of selectors) {
      const position = state.positions.get(one);
      if (position !== undefined) found.push(position);
    }
  }
  let selection = state.root;
  for (const i of found.sort((a, b) => a - b)) selection = selection.with(i, state.selectors[i] as SelectorFilters);
  return selection;
}

/** Brings the rows of one identity up to date and adds to `delta` what changed. */
export function applyToDirection(
  state: DirectionState,
  cache: SelectorCache,
  subject: Subject,
  change: IdentityChange,
  delta: MapDelta,
): void {
  const { id } = change;
  const before = state.rows.get(id) ?? noRows;
  const selection = cache.entry(id) === undefined ? state.root : selectionOf(state, change);
  const after = rowsFor(state, cache, subject, id, selection);
  if (after === before) return;
  if (after.length > 0) state.rows.set(id, after);
  else state.rows.delete(id);
  for (const row of before) if (!after.includes(row)) delta.removed.push(entryOf(state.direction, id, row));
  for (const row of after) if (!before.includes(row)) delta.added.push(entryOf(state.direction, id, row));
}
