import { findSame, type Party } from "../world/party.ts";
import type { World } from "../world/world.ts";
import { isPair, partiesOf } from "./parties.ts";
import { protocolsOf, reachesOf } from "./reach.ts";
import { formatReach, formatSpan, l7Changes, type Reach, subtract } from "./span.ts";

/** What is different: traffic that is denied now, or allowed now, or that a proxy judges otherwise. */
export type ChangeKind = "denied" | "allowed" | "l7";

/** One difference, for all pairs that it is the same for: each of `from` to each of `to`. */
export type Change = {
  readonly kind: ChangeKind;
  readonly from: readonly Party[];
  readonly to: readonly Party[];
  /** The ports, in words. */
  readonly what: string;
  /** The same as data; for `l7` what was, with `after` what is. */
  readonly spans: Reach;
  readonly after?: Reach;
};

type PairChange = {
  readonly kind: ChangeKind;
  readonly from: Party;
  readonly to: Party;
  readonly what: string;
  readonly spans: Reach;
  readonly after?: Reach;
};

/** How two worlds with the same pods differ in who may send what to whom. Exact in ports and address blocks; application rules are compared by what they let through (`requestTexts`, `nameTexts`, `kafkaTexts`). */
export function compareWorlds(before: World, after: World): Change[] {
  const protocols = protocolsOf(before, after);
  const [old, now] = [reachesOf(before, protocols), reachesOf(after, protocols)];
  const parties = partiesOf(before, after).map((party) => ({ party, later: findSame(after, party) }));
  const changes: PairChange[] = [];
  for (const from of parties) {
    for (const to of parties) {
      if (!isPair(before, from.party, to.party)) continue;
      const pair = { from: from.party, to: to.party };
      changes.push(...pairChanges(pair, old.between(from.party, to.party), now.between(from.later, to.later), protocols));
    }
  }
  return grouped(changes);
}

function* pairChanges(pair: { from: Party; to: Party }, was: Reach, is: Reach, protocols: readonly number[]): Generator<PairChange> {
  const gone = subtract(was, is);
  if (gone.length > 0) yield { kind: "denied", ...pair, spans: gone, what: formatReach(gone, protocols) };
  const come = subtract(is, was);
  if (come.length > 0) yield { kind: "allowed", ...pair, spans: come, what: formatReach(come, protocols) };
  for (const one of l7Changes(was, is)) yield { kind: "l7", ...pair, what: l7Words(one), spans: [one.before], after: [one.after] };
}

function l7Words({ before, after }: ReturnType<typeof l7Changes>[number]): string {
  const port = formatSpan({ ...before, l7: "" });
  if (before.l7 === "") return `${port}: only ${after.l7} passes`;
  if (after.l7 === "") return `${port}: everything passes, not only ${before.l7}`;
  return `${port}: ${after.l7} instead of ${before.l7}`;
}

/** Pairs with the same difference together: first by their targets, then by their sources. */
function grouped(changes: readonly PairChange[]): Change[] {
  const titles = (parties: readonly Party[]) => parties.map(({ title }) => title).join("\n");
  const byTarget = Map.groupBy(changes, ({ kind, what, to }) => `${kind}\n${what}\n${to.title}`);
  const rows = [...byTarget.values()].map((alike) => ({ alike, from: alike.map((one) => one.from) }));
  const bySources = Map.groupBy(rows, ({ alike, from }) => `${alike[0]?.kind}\n${alike[0]?.what}\n${titles(from)}`);
  const order: Readonly<Record<ChangeKind, number>> = { denied: 0, allowed: 1, l7: 2 };
  return [...bySources.values()]
    .flatMap((same): Change[] => {
      const first = same[0]?.alike[0];
      if (first === undefined) return [];
      const to = same.flatMap(({ alike }) => alike.slice(0, 1).map((one) => one.to));
      return [{ ...first, from: same[0]?.from ?? [], to }];
    })
    .sort((a, b) => order[a.kind] - order[b.kind]);
}
