import { misspeltKind } from "../misspelt.ts";
import { identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** Objects that seem to be meant as policies and are of no kind that there is. */
export function* lintKinds({ objects }: World): Generator<Finding> {
  for (const { object } of objects) {
    const message = misspeltKind(object);
    if (message === undefined) continue;
    const { kind, namespace, name } = identityOf(object);
    const policy = { kind, namespace, name, uid: "" };
    yield { id: "L00", severity: "error", policy, path: "kind", message, fix: "correct the kind: as it is, this is no policy" };
  }
}
