import { directions } from "#types/direction.ts";
import { type RuleRef, ruleKey } from "../rule.ts";
import { policyFor, surroundingsOf } from "./additive.ts";
import { type Connection, judge, type Side } from "./connection.ts";
import { requestDenial } from "./deny-request.ts";
import { narrowed } from "./narrow.ts";
import { sideAfter, titleOf, withObjects } from "./trial.ts";
import type { World } from "./world.ts";

/** Policies which, applied, turn a verdict around; tried in memory before anybody sees them. */
export type Remedy = {
  readonly verb: "allow" | "deny";
  /** Policies to apply: new ones, and present ones as they would have to be. */
  readonly objects: readonly object[];
  /** What each does, a line each. */
  readonly summary: readonly string[];
};

/** Both ends may need a rule taken out of the way and then one that allows. */
const STEPS = 6;

/** What would allow a denied connection, or deny an allowed one; undefined when nothing that is tried does. */
export function remedyFor(world: World, connection: Connection): Remedy | undefined {
  return judge(world, connection).allowed ? denial(world, connection) : permission(world, connection);
}

function permission(world: World, connection: Connection): Remedy | undefined {
  let [present, asked] = [world, connection];
  const objects = new Map<string, object>();
  const summary: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    const sides = judge(present, asked);
    if (sides.allowed) return { verb: "allow", objects: [...objects.values()], summary };
    const next = nextStep(present, asked, sides.egress?.allowed === false ? sides.egress : sides.ingress);
    if (next === undefined) return undefined;
    [present, asked] = [next.world, next.connection];
    for (const one of next.objects) objects.set(titleOf(one), one);
    summary.push(...next.summary);
  }
  return undefined;
}

type Step = {
  readonly world: World;
  readonly connection: Connection;
  readonly objects: readonly object[];
  readonly summary: readonly string[];
};

/** The first change that gets a denied end further: past the rule that denies it, or out of default deny. */
function nextStep(world: World, connection: Connection, side: Side | undefined): Step | undefined {
  if (side === undefined || side.explanation.verdict.verdict === "error") return undefined;
  const { direction, explanation } = side;
  const [deny] = explanation.verdict.verdict === "denied" ? explanation.decidedBy : [];
  if (deny === undefined) {
    const object = policyFor(surroundingsOf(world), connection, direction, "allow");
    if (object === undefined) return undefined;
    const after = withObjects(world, connection, [object]);
    return after && sideAfter(after, direction)?.allowed === true
      ? { ...after, objects: [object], summary: [`new: ${titleOf(object)}`] }
      : undefined;
  }
  for (const { objects, summary, entries } of narrowed(world, connection, deny)) {
    const after = withObjects(world, connection, objects);
    if (after === undefined) continue;
    const own = Array.from({ length: entries }, (_, i) => ruleKey({ ...deny, index: deny.index + i }));
    const decided = sideAfter(after, direction)?.explanation.decidedBy ?? [];
    const others = objects.slice(1).map(titleOf);
    const isOwn = (one: RuleRef) => own.includes(ruleKey(one)) || others.includes(titleOf({ kind: one.kind, metadata: namesOf(one) }));
    if (!decided.some(isOwn)) return { ...after, objects, summary };
  }
  return undefined;
}

const namesOf = ({ namespace, name }: RuleRef) => ({ name, ...(namespace === "" ? {} : { namespace }) });

function denial(world: World, connection: Connection): Remedy | undefined {
  const request = connection.http === undefined ? undefined : requestDenial(world, connection);
  if (request !== undefined && "verb" in request) return request;
  // The receiver's end first: a deny there holds whoever sends.
  for (const direction of directions) {
    const object = policyFor(surroundingsOf(world), connection, direction, "deny");
    const after = object && withObjects(world, connection, [object]);
    if (after && sideAfter(after, direction)?.allowed === false)
      return { verb: "deny", objects: [object], summary: [`new: ${titleOf(object)}`, ...wholePort(connection, request?.problem)] };
  }
  return undefined;
}

/** Denies know ports alone, so that a request takes all others of its port with it. */
function wholePort({ port }: Connection, problem: string | undefined): string[] {
  if (problem === undefined) return [];
  return [
    `it denies every request to port ${port}: a deny knows no methods and paths, and for this one alone there is no change of the rules (${problem})`,
  ];
}
