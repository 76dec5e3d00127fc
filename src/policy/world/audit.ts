import { objectOf } from "../parse/fields.ts";
import { auditAnnotation, policyKey, scopeAudit } from "../rule.ts";
import { identityOf, type SourcedObject } from "./objects.ts";
import { configOf } from "./settings.ts";
import type { World, WorldEndpoint } from "./world.ts";

/** Where what policies deny passes, and is only reported: everywhere, in a namespace, or at one pod. */
export type AuditPlace = {
  readonly scope: "agents" | "namespace" | "pod";
  readonly namespace: string;
  readonly name: string;
  /** For people: `namespace shop`. */
  readonly title: string;
  /** The annotation is misspelt, so nothing is audited: why. */
  readonly problem?: string;
  /** The command that ends it. */
  readonly end: string;
};

const annotation = "policy.cilium.io/audit-mode";

/** Every place among the objects that asks for audit mode, or tries to. */
export function auditPlaces(objects: readonly SourcedObject[]): AuditPlace[] {
  const agents = configOf(objects).data["policy-audit-mode"] === "true" ? [agentsPlace] : [];
  return [...agents, ...objects.flatMap(({ object }) => placeOf(object) ?? [])];
}

const unset = `patch configmap cilium-config --type merge -p '{"data":{"policy-audit-mode":"false"}}'`;
const agentsPlace: AuditPlace = {
  ...{ scope: "agents", namespace: "", name: "", title: "the whole cluster (policy-audit-mode in cilium-config)" },
  end: `kubectl -n kube-system ${unset} && kubectl -n kube-system rollout restart daemonset cilium`,
};

function placeOf(object: unknown): AuditPlace | undefined {
  const { kind, namespace, name } = identityOf(object);
  if (kind !== "Namespace" && kind !== "Pod") return undefined;
  const { audit, problem } = scopeAudit(objectOf(objectOf(objectOf(object).metadata).annotations));
  if (!audit && problem === undefined) return undefined;
  const found = problem === undefined ? {} : { problem };
  if (kind === "Namespace")
    return {
      scope: "namespace",
      namespace: name,
      name,
      title: `namespace ${name}`,
      ...found,
      end: `kubectl annotate namespace ${name} ${annotation}-`,
    };
  return {
    ...{ scope: "pod", namespace, name, title: `pod ${namespace}/${name}` },
    ...found,
    end: `kubectl -n ${namespace} annotate pod ${name} ${annotation}-`,
  };
}

/** The object without the annotation that puts it in audit mode. */
export function enforced({ object, source }: SourcedObject): SourcedObject {
  const copy = structuredClone(object) as { metadata?: { annotations?: Record<string, unknown> } } | null;
  if (copy?.metadata?.annotations) delete copy.metadata.annotations[auditAnnotation];
  return { object: copy, source };
}

/** The places in audit mode that a pod is in. */
export function auditedAt(places: readonly AuditPlace[], pod: Pick<WorldEndpoint, "namespace" | "name">): AuditPlace[] {
  return places.filter(
    ({ problem, scope, namespace, name }) =>
      problem === undefined && (scope === "agents" || (namespace === pod.namespace && (scope === "namespace" || name === pod.name))),
  );
}

/** The pods that a policy selects. */
export function podsSelectedBy(world: World, key: string): WorldEndpoint[] {
  return world.endpoints.filter(({ identity, identityLabels }) =>
    world.repo.select(identityLabels, identity).some(({ policy }) => policyKey(policy) === key),
  );
}

/**
 * What keeps a policy from denying at the pods that it selects, besides its own annotation. `audited` are pods (`namespace/name`) that their agents
 * say are in audit mode: what no annotation explains was set on the endpoint.
 */
export function auditedBy(world: World, key: string, audited: ReadonlySet<string> = new Set()): AuditPlace[] {
  const pods = podsSelectedBy(world, key);
  const places = auditPlaces(world.objects).filter(({ problem }) => problem === undefined);
  const found = new Set(pods.flatMap((pod) => auditedAt(places, pod)));
  const unexplained = pods.filter((pod) => audited.has(`${pod.namespace}/${pod.name}`) && auditedAt(places, pod).length === 0);
  return [
    // In an empty cluster the setting of all agents counts all the same.
    ...places.filter((place) => place.scope === "agents" || found.has(place)),
    ...unexplained.map(endpointPlace),
  ];
}

/** A pod whose endpoint was put in audit mode by hand. */
export function endpointPlace({ namespace, name }: Pick<WorldEndpoint, "namespace" | "name">): AuditPlace {
  const end = `cilium endpoint config ${namespace}/${name} PolicyAuditMode=Disabled`;
  return { scope: "pod", namespace, name, title: `endpoint ${namespace}/${name}`, end };
}
