import type { World } from "../world/world.ts";
import { createJudge, type Outcome } from "./judge.ts";
import { type Observed, portTitle, requestTitle } from "./observed.ts";

/** Recorded traffic between two workloads on a port that a change of policies treats in one way. */
export type Group = {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  /** Requests or names; none where the connection as a whole is meant. */
  readonly requests: readonly string[];
  readonly flows: number;
  /** Milliseconds since 1970 of the newest. */
  readonly last: number;
  readonly why: string;
};

/** What changed policies do to recorded traffic. */
export type WhatIf = {
  readonly denied: readonly Group[];
  readonly allowed: readonly Group[];
  readonly uncertain: readonly Group[];
  /** Distinct connections and requests that fare as before. */
  readonly unchanged: number;
  /** Recorded as passed although the policies of before deny it, or the other way round: the record is of other policies. */
  readonly contradictions: number;
};

type Judged = { readonly observed: Observed; readonly before: Outcome; readonly after: Outcome };

/** Replays recorded traffic against the policies before and after a change. Pure. */
export function whatIf(before: World, after: World, observed: readonly Observed[]): WhatIf {
  const [old, next] = [createJudge(before, observed), createJudge(after, observed)];
  const judged = observed.map((one): Judged => ({ observed: one, before: old.judge(one), after: next.judge(one) }));
  const denied = judged.filter((one) => one.after.outcome === "denied" && one.before.outcome !== "denied");
  const allowed = judged.filter((one) => one.before.outcome === "denied" && one.after.outcome === "allowed");
  const uncertain = judged.filter((one) => one.after.outcome === "uncertain" && one.before.outcome !== "uncertain");
  const contradictions = judged.filter(
    (one) =>
      (one.before.outcome === "denied" && one.observed.dropped === 0) || (one.before.outcome === "allowed" && one.observed.passed === 0),
  );
  return {
    denied: groups(denied, ({ after: { why } }) => why),
    allowed: groups(allowed, ({ before: { why } }) => `denied before: ${why}`),
    uncertain: groups(uncertain, ({ after: { why } }) => why),
    unchanged: judged.length - denied.length - allowed.length - uncertain.length,
    contradictions: contradictions.length,
  };
}

function groups(judged: readonly Judged[], why: (judged: Judged) => string): Group[] {
  const byPair = Map.groupBy(judged, ({ observed }) => `${observed.from.title} ${observed.to.title} ${portTitle(observed)}`);
  const found = [...byPair.values()].map((members): Group => {
    const [first] = members as [Judged, ...Judged[]];
    const { from, to } = first.observed;
    const requests = [...new Set(members.map(({ observed }) => requestTitle(observed)).filter((text) => text !== ""))].sort();
    return {
      from: from.title,
      to: to.title,
      port: portTitle(first.observed),
      requests,
      flows: members.reduce((sum, { observed }) => sum + observed.flows, 0),
      last: Math.max(...members.map(({ observed }) => observed.last)),
      why: why(first),
    };
  });
  return found.sort((a, b) => b.flows - a.flows || (a.from < b.from ? -1 : 1));
}
