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

/** Filters by the blocks that they cover. */
export type Chain = {
  readonly blocks: ReadonlyMap<number, Block>;
  readonly filters: ReadonlyMap<number, readonly Filter[]>;
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
  const blocks = new Map<number, Block>();
  const byBlock = new Map<number, Filter[]>();
  let widths = 0;
  for (const filter of filters) {
    for (const block of blocksOf(filter.spec, namedPorts)) {
      const key = keyOf(block.protocol, block.port, block.bits);
      const present = byBlock.get(key);
      if (present === undefined) {
        blocks.set(key, block);
        widths |= 1 << block.bits;
        byBlock.set(key, [filter]);
      } else present.push(filter);
    }
  }
  return {
    blocks,
    filters: byBlock,
    widths,
    hasPass: filters.some((one) => one.action === "pass"),
    hasAuth: filters.some((one) => one.auth !== undefined),
  };
}

/** The blocks around a block that these widths allow, the nearest first, without itself. */
function around({ protocol, port, bits }: Block, widths: number): number[] {
  const keys: number[] = [];
  for (let b = bits - 1; b >= 0; b--) if ((widths & (1 << b)) !== 0) keys.push(keyOf(protocol, (port >> (16 - b)) << (16 - b), b));
  if (protocol !== 0 && (widths & 1) !== 0) keys.push(keyOf(0, 0, 0));
  return keys;
}

const noFilters: readonly Filter[] = [];

function strongest(filters: readonly Filter[]): number {
  let best = -1;
  for (const one of filters) best = Math.max(best, precedenceOf(one));
  return best;
}

const authOrder: readonly AuthType[] = ["disabled", "spire", "test-always-fail"];

function highestAuth(filters: readonly Filter[]): AuthType | undefined {
  let best: AuthType | undefined;
  for (const { auth } of filters)
    if (auth !== undefined && (best === undefined || authOrder.indexOf(auth) > authOrder.indexOf(best))) best = auth;
  return best;
}

/** The nearest authentication of allows of one strength around a block, in one chain; the block itself counts when `here` is set. */
function nearestAuth(chain: Chain, block: Block, here: boolean, strength: number): AuthType | undefined {
  const around_ = here ? [keyOf(block.protocol, block.port, block.bits), ...around(block, chain.widths)] : around(block, chain.widths);
  for (const key of around_) {
    const type = highestAuth(
      (chain.filters.get(key) ?? noFilters).filter((one) => one.action === "allow" && precedenceOf(one) === strength),
    );
    if (type !== undefined) return type;
  }
  return undefined;
}

/**
 * The authentication of an allowed row. What a rule for just this block asks for is explicit; otherwise it is taken over from the nearest
 * wider rule for the peer, or from a rule of the other chain when that asks for more.
 */
function authOf(winners: readonly Filter[], block: Block, strength: number, own: Chain, outer: Chain): Row["auth"] {
  if (!own.hasAuth && !outer.hasAuth) return undefined;
  const here = (own.filters.get(keyOf(block.protocol, block.port, block.bits)) ?? noFilters).filter((one) => one.action === "allow");
  const explicit = highestAuth([...winners, ...here]);
  if (explicit !== undefined) return { type: explicit, explicit: true };
  const inherited = nearestAuth(own, block, false, strength);
  const other = own === outer ? undefined : nearestAuth(outer, block, true, strength);
  if (other !== undefined && other !== "disabled" && (inherited === undefined || authOrder.indexOf(other) > authOrder.indexOf(inherited))) {
    return { type: other, explicit: false };
  }
  // Taking over that nothing is asked is asking nothing.
  return inherited === undefined || inherited === "disabled" ? undefined : { type: inherited, explicit: false };
}

function rowOf(block: Block, winners: readonly Filter[], strength: number, own: Chain, outer: Chain): Row {
  const [first] = winners;
  if (first === undefined) throw new Error("a row needs a filter");
  const auth = first.action === "allow" ? authOf(winners, block, precedenceOf(first), own, outer) : undefined;
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
  const logs = filters.flatMap((one) => one.logs);
  return logs.length < 2 ? logs : [...new Set(logs)];
}

/** The strongest filters that cover a block, the nearest ones of equals: those for the peer before those for everybody. */
function covering(block: Block, key: number, own: Chain, outer: Chain): { readonly filters: readonly Filter[]; readonly strength: number } {
  let best: { readonly filters: readonly Filter[]; readonly strength: number } = { filters: noFilters, strength: -1 };
  const consider = (filters: readonly Filter[] | undefined) => {
    const strength = filters === undefined ? -1 : strongest(filters);
    if (strength > best.strength && filters !== undefined) best = { filters, strength };
  };
  for (const around_ of [key, ...around(block, own.widths | outer.widths)]) {
    consider(own.filters.get(around_));
    if (own !== outer) consider(outer.filters.get(around_));
  }
  return best;
}

function strengthOnly(filters: readonly Filter[], strength: number): readonly Filter[] {
  return filters.filter((one) => precedenceOf(one) === strength);
}

/** Whether a row would say nothing new: everybody's row for the same block says it already, or a wider deny does. */
function isRedundant(block: Block, key: number, strength: number, deny: boolean, own: Chain, outer: Chain): boolean {
  for (const around_ of [key, ...around(block, own.widths | outer.widths)]) {
    const wider = around_ !== key;
    if (wider && !deny) return false;
    const others = own === outer ? noFilters : (outer.filters.get(around_) ?? noFilters);
    // A row without authentication beside one with it stays: it takes the other's over, but less strictly.
    if (strongest(others) >= strength && highestAuth(others) === undefined) return true;
    if (wider && strongest(own.filters.get(around_) ?? noFilters) >= strength) return true;
  }
  return false;
}

/**
 * A block's row when nobody passes: its strongest filter, unless something as strong lies around it. A rule that asks for authentication keeps
 * its row even then, with the decision of the stronger one.
 */
function simpleRow(block: Block, key: number, own: Chain, outer: Chain): Row | undefined {
  const here = own.filters.get(key) ?? noFilters;
  const { filters, strength } = covering(block, key, own, outer);
  const mine = strengthOnly(here, strength);
  const asks = here.some((one) => one.action === "allow" && one.auth !== undefined);
  if (mine.length > 0) {
    const keep = asks || !isRedundant(block, key, strength, mine[0]?.action === "deny", own, outer);
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
  for (const [key, block] of outer.blocks) {
    if (own.blocks.has(key)) continue;
    const { filters, strength } = covering(block, key, own, outer);
    const inherited = nearestAuth(own, block, false, strength);
    if (inherited === undefined || inherited === "disabled") continue;
    const winners = strengthOnly(filters, strength);
    if (filters !== outer.filters.get(key) || winners[0]?.action !== "allow" || highestAuth(winners) !== undefined) continue;
    rows.push(rowOf(block, winners, strength, own, outer));
  }
  return rows;
}

/** A block's row where a rule may pass to the next tier: the tiers are walked as the policies say. */
function passedRow(block: Block, key: number, own: Chain, outer: Chain, defaultDeny: boolean): Row | undefined {
  const chains = own === outer ? [own] : [own, outer];
  const candidates: Filter[] = [];
  for (const around_ of [key, ...around(block, own.widths | outer.widths)])
    for (const chain of chains) candidates.push(...(chain.filters.get(around_) ?? noFilters));
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
    const winners = candidates.filter((other) => precedenceOf(other) === strength && isHere(other) === isHere(one));
    return rowOf(block, winners, passed === undefined ? strength : precedence(passed.level, 0), own, outer);
  }
  if (passed === undefined || !defaultDeny) return undefined;
  const deny: Filter = { ...passed, action: "deny", origins: [], logs: [], reason: "deny-any" };
  return rowOf(block, [deny], precedence(passed.level, 0), own, outer);

  function isHere(filter: Filter): boolean {
    return (own.filters.get(key) ?? noFilters).includes(filter);
  }
}

/**
 * The rows for a peer: `own` are the filters that select it, `outer` those for everybody. A row is left out where a wider one is stronger, so
 * that the longest match in a chain of blocks is always the deciding one. For the rows of everybody, give the same chain twice.
 */
export function distill(own: Chain, outer: Chain, defaultDeny: boolean): Row[] {
  const rows: Row[] = [];
  if (!own.hasPass && !outer.hasPass) {
    for (const [key, block] of own.blocks) {
      const row = simpleRow(block, key, own, outer);
      if (row !== undefined) rows.push(row);
    }
    return own !== outer && own.hasAuth ? [...rows, ...authRows(own, outer)] : rows;
  }
  for (const [key, block] of own === outer ? own.blocks : new Map([...outer.blocks, ...own.blocks])) {
    const row = passedRow(block, key, own, outer, defaultDeny);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}
