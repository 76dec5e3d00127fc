import { objectOf, textOf } from "../parse/fields.ts";
import { misspeltKind } from "../parse/misspelt.ts";
import { identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

const versions: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: "cilium.io/v2",
  CiliumClusterwideNetworkPolicy: "cilium.io/v2",
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
};

/** Objects that seem to be meant as policies and are of no kind that there is. */
export function* lintKinds({ objects }: World): Generator<Finding> {
  for (const { object } of objects) {
    const { kind, namespace, name } = identityOf(object);
    const policy = { kind, namespace, name, uid: "" };
    const version = textOf(objectOf(object).apiVersion);
    const right = Object.hasOwn(versions, kind) ? versions[kind] : undefined;
    if (right !== undefined && version !== "" && version !== right) {
      const wrong = `a ${kind} of "${version}" is nothing that an API server knows`;
      yield { id: "L25", severity: "error", policy, path: "apiVersion", message: wrong, fix: `write apiVersion: ${right}` };
    }
    const message = misspeltKind(object);
    if (message === undefined) continue;
    yield { id: "L00", severity: "error", policy, path: "kind", message, fix: "correct the kind: as it is, this is no policy" };
  }
}
