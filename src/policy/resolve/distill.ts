import { protocolNumber } from "#types/proto.ts";
import type { AuthType, PortSpec, RuleRef } from "../rule.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import { type EntryReason, type Filter, precedence, precedenceOf, type Redirect } from "./filter.ts";
import { unionOrigins } from "./merge.ts";
import { portPrefixes } from "./port-range.ts";

/** One row of a policy map, without direction and identity: many identities share it. */
export type Row = {
  readonly protocol: number;
  readonly port: number;
  readonly portPrefix: number;
  readonly deny: boolean;
  readonly precedence: number;
  readonly redirect?: Redirect | undefined;
  readonly auth?: { readonly type: AuthType; readonly explicit: boolean } | undefined;
  readonly origins: readonly RuleRef[];
  readonly logs: readonly string[];
  readonly reason: EntryReason;
};

/** A block of the space of protocols and ports. Blocks nest or are disjoint, never overlap in part. */
type Block = { readonly protocol: number; readonly port: number; readonly bits: number };

/** A block with the filters for just this one, and the strength of the strongest of them. */
type Covered = { readonly block: Block; readonly filters: Filter[]; strength: number };

/** Filters by the blocks that they cover. */
export type Chain = {
  readonly blocks: ReadonlyMap<number, Covered>;
  /** Bit `n` is set when a block has `n` bits: most chains have one or two widths, and no other has to be looked for. */
  readonly widths: number;
  readonly hasPass: boolean;
  readonly hasAuth: boolean;
};

function keyOf(protocol: number, port: number, bits: number): number {
  return (protocol * 32 + bits) * 0x10000 + port;
}

function isIcmp(protocol: number): boolean {
  return protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
}

/** The blocks that a port spec covers; a named port is looked up among the receiver's. */
export function blocksOf(spec: PortSpec, namedPorts: readonly NamedPort[]): Block[] {
  const { protocol } = spec;
  if (spec.name !== "") {
    return namedPorts
      .filter((one) => one.name === spec.name && one.protocol === protocol)
      .flatMap((one) => portPrefixes(one.port, spec.endPort).map(({ port, bits }) => ({ protocol, port, bits })));
  }
  // Here the port is the ICMP type, of which 0 is one like any other.
  if (isIcmp(protocol)) return [{ protocol, port: spec.port & 0xffff, bits: 16 }];
  // Port 0 is every port, whatever end a range gives.
  if (spec.port === 0) return [{ protocol, port: 0, bits: 0 }];
  return portPrefixes(spec.port, spec.endPort === 0 ? spec.port : spec.endPort).map(({ port, bits }) => ({ protocol, port, bits }));
}

/** Arranges filters by the blocks that they cover. */
export function chainOf(filters: readonly Filter[], namedPorts: readonly NamedPort[]): Chain {
  const blocks = new Map<number, Covered>();
  let [widths, hasPass, hasAuth] = [0, false, false];
  for (const filter of filters) {
    const strength = precedenceOf(filter);
    hasPass ||= filter.action === "pass";
    hasAuth ||= filter.auth !== undefined;
    for (const block of blocksOf(filter.spec, namedPorts)) {
      const key = keyOf(block.protocol, block.port, block.bits);
      const present = blocks.get(key);
      if (present === undefined) {
        widths |= 1 << block.bits;
        blocks.set(key, { block, filters: [filter], strength });
      } else {
        present.filters.push(filter);
        present.strength = Math.max(present.strength, strength);
      }
    }
  }
  return { blocks, widths, hasPass, hasAuth };
}

/** A block and the blocks around it that these widths allow, the nearest first. */
function outwards({ protocol, port, bits }: Block, widths: number): number[] {
  const keys = [keyOf(protocol, port, bits)];
  for (let b = bits - 1; b >= 0; b--) if ((widths & (1 << b)) !== 0) keys.push(keyOf(protocol, (port >> (16 - b)) << (16 - b), b));
  if (protocol !== 0 && (widths & 1) !== 0) keys.push(keyOf(0, 0, 0));
  return keys;
}

const noFilters: readonly Filter[] = [];

function filtersAt(chain: Chain, key: number): readonly Filter[] {
  return chain.blocks.get(key)?.filters ?? noFilters;
}

const authOrder: readonly AuthType[] = ["disabled", "spire", "test-always-fail"];

function highestAuth(filters: readonly Filter[]): AuthType | undefined {
  let best: AuthType | undefined;
  for (const { auth } of filters)
    if (auth !== undefined && (best === undefined || authOrder.indexOf(auth) > authOrder.indexOf(best))) best = auth;
  return best;
}

/** The nearest authentication of these allows at these blocks of one chain. */
function nearestAuth(chain: Chain, keys: readonly number[], counts: (allow: Filter) => boolean): AuthType | undefined {
  for (const key of keys) {
    const type = highestAuth(filtersAt(chain, key).filter((one) => one.action === "allow" && counts(one)));
    if (type !== undefined) return type;
  }
  return undefined;
}

function ofStrength(strength: number): (one: Filter) => boolean {
  return (one) => precedenceOf(one) === strength;
}

/**
 * The authentication of an allowed row. What a rule for just this block asks for is explicit; otherwise it is taken over from the nearest
 * wider rule for the peer of the same level, a redirect from a plain one too, or from an equally strong rule of the other chain when that
 * asks for more.
 */
function authOf(winners: readonly Filter[], first: Filter, block: Block, own: Chain, outer: Chain): Row["auth"] {
  if (!own.hasAuth && !outer.hasAuth) return undefined;
  const keys = outwards(block, own.widths | outer.widths);
  const here = filtersAt(own, keys[0] as number).filter((one) => one.action === "allow");
  const explicit = highestAuth([...winners, ...here]);
  if (explicit !== undefined) return { type: explicit, explicit: true };
  const inherited = nearestAuth(own, keys.slice(1), (one) => one.level === first.level);
  const other = own === outer ? undefined : nearestAuth(outer, keys, ofStrength(precedenceOf(first)));
  if (other !== undefined && other !== "disabled" && (inherited === undefined || authOrder.indexOf(other) > authOrder.indexOf(inherited))) {
    return { type: other, explicit: false };
  }
  // Taking over that nothing is asked is asking nothing.
  return inherited === undefined || inherited === "disabled" ? undefined : { type: inherited, explicit: false };
}

function rowOf(block: Block, winners: readonly Filter[], strength: number, own: Chain, outer: Chain): Row {
  const [first] = winners;
  if (first === undefined) throw new Error("a row needs a filter");
  const auth = first.action === "allow" ? authOf(winners, first, block, own, outer) : undefined;
  let origins: readonly RuleRef[] = [];
  for (const one of winners) origins = unionOrigins(origins, one.origins);
  return {
    protocol: block.protocol,
    port: block.port,
    portPrefix: block.bits,
    deny: first.action === "deny",
    precedence: strength,
    redirect: first.redirect,
    auth,
    origins,
    logs: logsOf(winners),
    reason: winners.find((one) => one.reason === "policy")?.reason ?? first.reason,
  };
}

function logsOf(filters: readonly Filter[]): readonly string[] {
  if (filters.length === 1) return filters[0]?.logs ?? [];
  const logs = filters.flatMap((one) => one.logs);
  return logs.length < 2 ? logs : [...new Set(logs)];
}

/** The strongest of what covers a block, the nearest of equals: what is for the peer before what is for everybody. */
function covering(keys: readonly number[], own: Chain, outer: Chain): Covered | undefined {
  let best: Covered | undefined;
  for (const key of keys) {
    const mine = own.blocks.get(key);
    if (mine !== undefined && (best === undefined || mine.strength > best.strength)) best = mine;
    const theirs = outer.blocks.get(key);
    if (theirs !== undefined && (best === undefined || theirs.strength > best.strength)) best = theirs;
  }
  return best;
}

function strengthOnly(filters: readonly Filter[], strength: number): readonly Filter[] {
  return filters.filter((one) => precedenceOf(one) === strength);
}

/** Whether the strongest of a block send traffic to the same listener, if to any: two of equal priority may be different ones. */
function goesWhere({ filters, strength }: Covered, mine: Filter | undefined): boolean {
  const listener = mine?.redirect?.listener;
  return strengthOnly(filters, strength).every((one) => one.redirect?.listener === listener);
}

/** Whether a row would say nothing new: everybody's row for the same block says it already, or a wider deny does. */
function isRedundant(keys: readonly number[], strength: number, mine: Filter | undefined, own: Chain, outer: Chain): boolean {
  const deny = mine?.action === "deny";
  for (const [i, key] of keys.entries()) {
    const wider = i > 0;
    if (wider && !deny) return false;
    const others = own === outer ? undefined : outer.blocks.get(key);
    // A row without authentication beside one with it stays: it takes the other's over, but less strictly.
    if (
      others !== undefined &&
      (others.strength > strength || (others.strength === strength && goesWhere(others, mine))) &&
      highestAuth(others.filters) === undefined
    )
      return true;
    if (wider && (own.blocks.get(key)?.strength ?? -1) >= strength) return true;
  }
  return false;
}

/**
 * A block's row when nobody passes: its strongest filter, unless something as strong lies around it. A rule that asks for authentication keeps
 * its row even then, with the decision of the stronger one.
 */
function simpleRow({ block, filters: here }: Covered, own: Chain, outer: Chain): Row | undefined {
  const keys = outwards(block, own.widths | outer.widths);
  const { filters, strength } = covering(keys, own, outer) ?? { filters: noFilters, strength: -1 };
  const mine = strengthOnly(here, strength);
  const asks = own.hasAuth && here.some((one) => one.action === "allow" && one.auth !== undefined);
  if (mine.length > 0) {
    const keep = asks || !isRedundant(keys, strength, mine[0], own, outer);
    return keep ? rowOf(block, mine, strength, own, outer) : undefined;
  }
  const winners = strengthOnly(filters, strength);
  if (!asks || winners[0]?.action !== "allow") return undefined;
  const row = rowOf(block, winners, strength, own, outer);
  const askers = here.filter((one) => one.action === "allow" && one.auth !== undefined);
  return { ...row, origins: askers.reduce<readonly RuleRef[]>((all, one) => unionOrigins(all, one.origins), []) };
}

/** The rows that a peer needs because its own rules ask for authentication on what everybody is allowed more narrowly. */
function authRows(own: Chain, outer: Chain): Row[] {
  const rows: Row[] = [];
  for (const [key, everybody] of outer.blocks) {
    if (own.blocks.has(key)) continue;
    const keys = outwards(everybody.block, own.widths | outer.widths);
    const best = covering(keys, own, outer);
    if (best !== everybody) continue;
    const inherited = nearestAuth(own, keys, ofStrength(best.strength));
    if (inherited === undefined || inherited === "disabled") continue;
    const winners = strengthOnly(best.filters, best.strength);
    if (winners[0]?.action !== "allow" || highestAuth(winners) !== undefined) continue;
    rows.push(rowOf(best.block, winners, best.strength, own, outer));
  }
  return rows;
}

/** A block's row where a rule may pass to the next tier: the tiers are walked as the policies say. */
function passedRow(block: Block, own: Chain, outer: Chain, defaultDeny: boolean): Row | undefined {
  const chains = own === outer ? [own] : [own, outer];
  const keys = outwards(block, own.widths | outer.widths);
  const candidates = keys.flatMap((key) => chains.flatMap((chain) => filtersAt(chain, key)));
  const here = filtersAt(own, keys[0] as number);
  // Stable: of equals, the nearest block and the peer's own chain stay first.
  candidates.sort((a, b) => precedenceOf(b) - precedenceOf(a));
  let passed: Filter | undefined;
  let tier = -1;
  for (const one of candidates) {
    if (one.tier <= tier) continue;
    if (one.action === "pass") {
      passed ??= one;
      tier = one.tier;
      continue;
    }
    const strength = precedenceOf(one);
    const winners = candidates.filter((other) => precedenceOf(other) === strength && here.includes(other) === here.includes(one));
    return rowOf(block, winners, passed === undefined ? strength : precedence(passed.level, 0), own, outer);
  }
  if (passed === undefined || !defaultDeny) return undefined;
  const deny: Filter = { ...passed, action: "deny", origins: [], logs: [], reason: "deny-any" };
  return rowOf(block, [deny], precedence(passed.level, 0), own, outer);
}

/**
 * The rows for a peer: `own` are the filters that select it, `outer` those for everybody. A row is left out where a wider one is stronger, so
 * that the longest match in a chain of blocks is always the deciding one. For the rows of everybody, give the same chain twice.
 */
export function distill(own: Chain, outer: Chain, defaultDeny: boolean): Row[] {
  const rows: Row[] = [];
  if (!own.hasPass && !outer.hasPass) {
    for (const covered of own.blocks.values()) {
      const row = simpleRow(covered, own, outer);
      if (row !== undefined) rows.push(row);
    }
    return own !== outer && own.hasAuth ? [...rows, ...authRows(own, outer)] : rows;
  }
  for (const { block } of (own === outer ? own.blocks : new Map([...outer.blocks, ...own.blocks])).values()) {
    const row = passedRow(block, own, outer, defaultDeny);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}
