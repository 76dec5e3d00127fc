import type { WorldPolicy } from "../world/world.ts";
import { lintEmpties } from "./empties.ts";
import { lintEntries } from "./entries.ts";
import type { Finding } from "./finding.ts";
import { lintNames } from "./names.ts";
import { lintRequests } from "./requests.ts";
import { lintText } from "./static.ts";

/** What a policy shows by itself, whatever the cluster. */
export function* lintAlone(policy: WorldPolicy): Generator<Finding> {
  yield* lintText(policy.parsed);
  yield* lintEmpties(policy);
  yield* lintEntries(policy);
  yield* lintNames(policy);
  yield* lintRequests(policy);
}
