import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { NumericIdentity } from "#types/identity.ts";
import { type EndpointPolicy, subjectKey } from "../resolve/resolve.ts";
import type { PeerSelector, Rule } from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import type { World, WorldEndpoint } from "../world/world.ts";

/** Pods that are alike for policies, with what applies to them. */
export type Pods = {
  readonly id: NumericIdentity;
  /** For people: `shop/web`. */
  readonly name: string;
  readonly namespace: string;
  readonly labels: LabelSet;
  readonly rules: readonly Rule[];
  readonly policy: EndpointPolicy;
  readonly endpoints: readonly WorldEndpoint[];
};

/** The pods of a world, those that are alike together. */
export function podsOf(world: World): Pods[] {
  const keyOf = (one: WorldEndpoint) => subjectKey({ identity: one.identity, labels: one.identityLabels, namedPorts: one.namedPorts });
  return [...Map.groupBy(world.endpoints, keyOf).values()].flatMap((endpoints) => {
    const [first] = endpoints;
    if (first === undefined) return [];
    const { identity, identityLabels: labels, namedPorts, namespace, workload } = first;
    const policy = world.policyOf({ identity, labels, namedPorts });
    const rules = world.repo.select(labels, identity);
    return [{ id: identity, name: `${namespace}/${workload.name}`, namespace, labels, rules, policy, endpoints }];
  });
}

/** The pods that a peer selector takes. */
export function taken(peer: PeerSelector, pods: readonly Pods[]): Pods[] {
  return pods.filter((one) => selects(peer, one.labels, undefined));
}

/** The pods whose ports a rule is about: those that it selects, or, on egress, its peers. */
export function receiversOf({ repo }: World, rule: Rule, pods: readonly Pods[]): Pods[] {
  if (rule.direction === "ingress") return pods.filter((pod) => pod.rules.some((one) => one.origin === rule.origin));
  return [
    ...new Set(
      repo
        .peersOf(rule)
        .filter((peer) => !peer.any)
        .flatMap((peer) => taken(peer, pods)),
    ),
  ];
}

/** The identities that a peer selector takes, pods or not. */
export function identitiesOf(peer: PeerSelector, { cache }: World): NumericIdentity[] {
  return [...cache.identities()].filter((id) => {
    const labels = cache.labels(id);
    return labels !== undefined && selects(peer, labels, cache.prefix(id));
  });
}

/** The namespace of an identity; empty when it has none. */
export function namespaceOf(labels: LabelSet | undefined): string {
  return labels?.get("k8s", labelKey.namespace)?.value ?? "";
}
