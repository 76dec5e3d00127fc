import { protocolNumber } from "#types/proto.ts";
import { type EntryReason, type Filter, precedence, precedenceOf, type Redirect } from "./filter.ts";
import { unionOrigins } from "./merge.ts";
import { portPrefixes } from "./port-range.ts";
import type { AuthType, PortSpec, RuleRef } from "./rule.ts";
import type { NamedPort } from "./selector-cache.ts";

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
export type Chain = { readonly blocks: ReadonlyMap<number, Block>; readonly filters: ReadonlyMap<number, readonly Filter[]>; readonly hasPass: boolean };

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
    return namedPorts.filter((one) => one.name === spec.name && one.protocol === protocol).map(({ port }) => ({ protocol, port, bits: 16 }));
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
  for (const filter of filters) {
    for (const block of blocksOf(filter.spec, namedPorts)) {
      const key = keyOf(block.protocol, block.port, block.bits);
      const present = byBlock.get(key);
      if (present === undefined) {
        blocks.set(key, block);
        byBlock.set(key, [filter]);
      } else present.push(filter);
    }
  }
  return { blocks, filters: byBlock, hasPass: filters.some((one) => one.action === "pass") };
}

/** The blocks around a block, the nearest first, without itself. */
function* around({ protocol, port, bits }: Block): Generator<number> {
  for (let b = bits - 1; b >= 0; b--) yield keyOf(protocol, (port >> (16 - b)) << (16 - b), b);
  if (protocol !== 0) yield keyOf(0, 0, 0);
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
  for (const { auth } of filters) if (auth !== undefined && (best === undefined || authOrder.indexOf(auth) > authOrder.indexOf(best))) best = auth;
  return best;
}

/** The authentication of an allowed row: its own, else that of the nearest wider allow. */
function authOf(winners: readonly Filter[], block: Block, chains: readonly Chain[]): Row["auth"] {
  const explicit = highestAuth(winners);
  if (explicit !== undefined) return { type: explicit, explicit: true };
  const own = keyOf(block.protocol, block.port, block.bits);
  for (const key of [own, ...around(block)]) {
    for (const chain of chains) {
      const type = highestAuth((chain.filters.get(key) ?? noFilters).filter((one) => one.action === "allow" && !winners.includes(one)));
      if (type !== undefined) return { type, explicit: false };
    }
  }
  return undefined;
}

function rowOf(block: Block, winners: readonly Filter[], strength: number, chains: readonly Chain[]): Row {
  const [first] = winners;
  if (first === undefined) throw new Error("a row needs a filter");
  const auth = first.action === "allow" ? authOf(winners, block, chains) : undefined;
  let origins: readonly RuleRef[] = [];
  const logs = new Set<string>();
  for (const one of winners) {
    origins = unionOrigins(origins, one.origins);
    for (const log of one.logs) logs.add(log);
  }
  return {
    protocol: block.protocol,
    port: block.port,
    portPrefix: block.bits,
    deny: first.action === "deny",
    precedence: strength,
    redirect: first.redirect,
    auth,
    origins,
    logs: [...logs],
    reason: winners.find((one) => one.reason === "policy")?.reason ?? first.reason,
  };
}

/** A block's row when nobody passes: its strongest filter, unless something stronger lies around it. */
function simpleRow(block: Block, key: number, own: Chain, outer: Chain): Row | undefined {
  const here = own.filters.get(key) ?? noFilters;
  const strength = strongest(here);
  let cover = own === outer ? -1 : strongest(outer.filters.get(key) ?? noFilters);
  for (const wider of around(block)) {
    cover = Math.max(cover, strongest(own.filters.get(wider) ?? noFilters));
    if (own !== outer) cover = Math.max(cover, strongest(outer.filters.get(wider) ?? noFilters));
  }
  if (cover > strength) return undefined;
  return rowOf(block, here.filter((one) => precedenceOf(one) === strength), strength, own === outer ? [own] : [own, outer]);
}

/** A block's row where a rule may pass to the next tier: the tiers are walked as the policies say. */
function passedRow(block: Block, key: number, chains: readonly Chain[], defaultDeny: boolean): Row | undefined {
  const candidates: Filter[] = [];
  for (const around_ of [key, ...around(block)]) for (const chain of chains) candidates.push(...(chain.filters.get(around_) ?? noFilters));
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
    const winners = candidates.filter((other) => precedenceOf(other) === strength && (own(other) === own(one)));
    return rowOf(block, winners, passed === undefined ? strength : precedence(passed.level, 0), chains);
  }
  if (passed === undefined || !defaultDeny) return undefined;
  const deny: Filter = { ...passed, action: "deny", origins: [], logs: [], reason: "deny-any" };
  return rowOf(block, [deny], precedence(passed.level, 0), chains);

  function own(filter: Filter): boolean {
    return (chains[0]?.filters.get(key) ?? noFilters).includes(filter);
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
    return rows;
  }
  const chains = own === outer ? [own] : [own, outer];
  for (const [key, block] of own === outer ? own.blocks : new Map([...outer.blocks, ...own.blocks])) {
    const row = passedRow(block, key, chains, defaultDeny);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}
