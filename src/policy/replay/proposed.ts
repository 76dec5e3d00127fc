import { enforced } from "../world/audit.ts";
import type { SourcedObject } from "../world/objects.ts";
import { createWorld, type World } from "../world/world.ts";

/**
 * A world with proposed objects in place of those of the same name. What is asked is what a proposed policy would do, be it in audit mode for
 * now. Pure.
 */
export function proposedWorld(kept: readonly SourcedObject[], proposed: readonly SourcedObject[]): World {
  return createWorld([...kept, ...proposed.map(enforced)]);
}
