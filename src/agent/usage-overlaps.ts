import type { EndpointPolicy, PolicyMapEntry } from "#policy/resolve/resolve.ts";
import { verdict } from "#policy/resolve/verdict.ts";
import { type Rule, type RuleRef, ruleKey } from "#policy/rule.ts";
import type { NumericIdentity } from "#types/identity.ts";

/** How rules meet in policy maps, where the narrowest row decides though a wider one says the same. */
export interface Overlaps {
  /** Rules whose narrower rows decide what this one covers too: what they count, it does not. */
  readonly deciders: ReadonlyMap<string, readonly RuleRef[]>;
  /** Rules that cover all rows of this one and say the same: without it nothing would change. */
  readonly coverers: ReadonlyMap<string, readonly RuleRef[]>;
}

type Found = Map<string, Map<string, RuleRef>>;

/** What the rows of these policies show. A rule that is `ruleKey`ed in neither map stands alone. */
export function overlapsOf(policies: Iterable<EndpointPolicy>): Overlaps {
  const deciders: Found = new Map();
  const coverers: Found = new Map();
  for (const policy of policies) {
    const entries = policy.entries();
    const rows = new Map(entries.map((entry) => [keyOf(entry, entry.identity, entry.protocol, entry.portPrefix), entry]));
    for (const entry of entries) {
      const wider = widerKeys(entry).flatMap((key) => rows.get(key) ?? []);
      const same = wider.filter((one) => saysTheSame(one, entry)).flatMap(({ origins }) => origins);
      for (const origin of entry.origins) keepCommon(coverers, ruleKey(origin), same);
      const outers = wider.filter(({ deny }) => deny === entry.deny).flatMap(({ origins }) => origins);
      for (const outer of outers) put(deciders, ruleKey(outer), entry.origins);
    }
  }
  return { deciders: listed(deciders), coverers: listed(coverers) };
}

/** So many peers and ports of a rule are tried. */
const TRIED = 16;

/** The rules that decide what a rule without any row would, for endpoints with this policy. */
export function shadowersOf(policy: EndpointPolicy, { direction, ports }: Rule, peers: readonly NumericIdentity[]): RuleRef[] {
  const specs = ports?.flatMap((one) => one.ports).filter(({ name }) => name === "") ?? [{ protocol: 0, port: 0 }];
  const flows = peers
    .slice(0, TRIED)
    .flatMap((identity) => specs.slice(0, TRIED).map(({ protocol, port }) => ({ direction, identity, protocol, port })));
  return flows.flatMap((flow) => verdict(policy, flow).entry?.origins ?? []);
}

function keyOf({ direction, port }: PolicyMapEntry, identity: number, protocol: number, prefix: number): string {
  return `${direction} ${identity} ${protocol} ${prefix} ${prefix === 0 ? 0 : port >>> (16 - prefix)}`;
}

/** The blocks around an entry's: fewer bits of the port, every protocol, any peer. */
function widerKeys(entry: PolicyMapEntry): string[] {
  const { identity, protocol, portPrefix } = entry;
  const blocks = Array.from({ length: portPrefix + 1 }, (_, prefix) => ({ protocol, prefix }));
  if (protocol !== 0) blocks.push({ protocol: 0, prefix: 0 });
  const own = keyOf(entry, identity, protocol, portPrefix);
  const keys = [...new Set([identity, 0])].flatMap((id) => blocks.map((one) => keyOf(entry, id, one.protocol, one.prefix)));
  return keys.filter((key) => key !== own);
}

function saysTheSame(a: PolicyMapEntry, b: PolicyMapEntry): boolean {
  return (
    a.deny === b.deny &&
    a.proxy?.key === b.proxy?.key &&
    a.proxy === undefined &&
    a.auth?.type === b.auth?.type &&
    a.logs.join() === b.logs.join()
  );
}

/** A rule that has a part in the narrower row too decides with it. */
function put(map: Found, outer: string, inner: readonly RuleRef[]): void {
  if (inner.some((one) => ruleKey(one) === outer)) return;
  const known = map.get(outer) ?? new Map<string, RuleRef>();
  for (const one of inner) known.set(ruleKey(one), one);
  map.set(outer, known);
}

/** Keeps only what covers every row so far. */
function keepCommon(map: Found, inner: string, covering: readonly RuleRef[]): void {
  const found = new Map(covering.filter((one) => ruleKey(one) !== inner).map((one) => [ruleKey(one), one]));
  const known = map.get(inner);
  if (known === undefined) map.set(inner, found);
  else for (const key of [...known.keys()]) if (!found.has(key)) known.delete(key);
}

function listed(map: ReadonlyMap<string, ReadonlyMap<string, RuleRef>>): ReadonlyMap<string, readonly RuleRef[]> {
  return new Map([...map].map(([key, refs]) => [key, [...refs.values()]]));
}
