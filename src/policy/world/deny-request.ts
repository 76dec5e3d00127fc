import { type Direction, directions } from "#types/direction.ts";
import type { RuleRef } from "../rule.ts";
import { type Connection, judge } from "./connection.ts";
import { excluding } from "./exclude.ts";
import type { Edit } from "./narrow.ts";
import type { Remedy } from "./remedy.ts";
import { type After, sideAfter, titleOf, withObjects } from "./trial.ts";
import type { World } from "./world.ts";

/** What would refuse a request that is allowed, and leave all others as they are; else why the rules cannot be changed so. */
export function requestDenial(world: World, connection: Connection): Remedy | { readonly problem: string } {
  const problems: string[] = [];
  for (const direction of directions) {
    const found = denialAt(world, connection, direction);
    if ("verb" in found) return found;
    problems.push(found.problem);
  }
  return { problem: problems.join("; ") };
}

/** Rules that allow a request may be several, each changed in its turn. */
const STEPS = 6;

function denialAt(world: World, connection: Connection, direction: Direction): Remedy | { readonly problem: string } {
  let present: After = { world, connection };
  const objects = new Map<string, object>();
  const summary: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    const side = sideAfter(present, direction);
    if (side?.allowed === false) {
      const other = changedNeighbour(world, connection, present);
      return other === undefined ? { verb: "deny", objects: [...objects.values()], summary } : { problem: `it would change ${other} too` };
    }
    const edit = nextEdit(present, side?.explanation.http?.decidedBy ?? []);
    if ("problem" in edit) return edit;
    const after = withObjects(present.world, present.connection, [edit.object]);
    if (after === undefined) return { problem: "the rule without it is refused" };
    objects.set(titleOf(edit.object), edit.object);
    summary.push(`changed: ${edit.summary}`);
    present = after;
  }
  return { problem: `more than ${STEPS} rules allow it at ${direction}` };
}

/** Rules for the same peers are one in the proxy, so that some of those that are named have no part in this request. */
function nextEdit({ world, connection }: After, rules: readonly RuleRef[]): Edit | { readonly problem: string } {
  for (const rule of rules) {
    const edit = excluding(world, connection, rule);
    if ("problem" in edit || edit.isChanged) return edit;
  }
  return { problem: "no HTTP rule decides" };
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** A request beside this one that fares otherwise than before; a patch that changes one is not given. */
function changedNeighbour(before: World, { http, ...connection }: Connection, after: After): string | undefined {
  if (http === undefined) return undefined;
  const { method, path } = http;
  const paths = new Set(
    [path, `${path}x`, `${path}/`, `${path}?x=1`, path.slice(0, -1), "/", "/other"].filter((one) => one.startsWith("/")),
  );
  for (const one of new Set([method, ...METHODS])) {
    for (const other of paths) {
      if (one === method && other === path) continue;
      const asked = { ...http, method: one, path: other };
      const was = judge(before, { ...connection, http: asked }).allowed;
      if (was !== judge(after.world, { ...after.connection, http: asked }).allowed) return `${one} ${other}`;
    }
  }
  return undefined;
}
