import { objectOf, textOf } from "../parse/fields.ts";
import { misspeltKind } from "../parse/misspelt.ts";
import { versionProblem } from "../parse/parse.ts";
import { identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** Objects that seem to be meant as policies and are of no kind that there is. */
export function* lintKinds({ objects }: World): Generator<Finding> {
  for (const { object, source } of objects) {
    const { kind, namespace, name } = identityOf(object);
    const policy = { kind, namespace, name, uid: "" };
    const version = textOf(objectOf(object).apiVersion);
    const wrong = versionProblem(kind, version);
    // What a cluster lists need not say its version.
    if (wrong !== undefined && (version !== "" || source.locate("") !== undefined))
      yield {
        id: "L25",
        severity: "error",
        policy,
        path: "apiVersion",
        message: `apiVersion ${wrong.message}`,
        fix: `write apiVersion: ${wrong.needed}`,
      };
    const message = misspeltKind(object);
    if (message === undefined) continue;
    yield { id: "L00", severity: "error", policy, path: "kind", message, fix: "correct the kind: as it is, this is no policy" };
  }
}
