import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { matches } from "#labels/selector.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { type EndpointPolicy, subjectKey } from "../resolve/resolve.ts";
import type { PeerSelector, Rule } from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import type { World, WorldEndpoint } from "../world/world.ts";
import { kept, once } from "./once.ts";

/** Pods that are alike for policies, with what applies to them. */
export type Pods = {
  readonly id: NumericIdentity;
  /** For people: `shop/web`. */
  readonly name: string;
  readonly namespace: string;
  readonly labels: LabelSet;
  /** One and the same list for all whom the same rules select. */
  readonly rules: readonly Rule[];
  /** Shared by those to whom it is the same. */
  readonly policy: EndpointPolicy;
  readonly endpoints: readonly WorldEndpoint[];
};

/** The pods of a world, those that are alike together. */
export function podsOf(world: World): Pods[] {
  const keyOf = (one: WorldEndpoint) => subjectKey({ identity: one.identity, labels: one.identityLabels, namedPorts: one.namedPorts });
  const listOf = shareLists();
  const policies = new Map<string, EndpointPolicy>();
  return [...Map.groupBy(world.endpoints, keyOf).values()].flatMap((endpoints) => {
    const [first] = endpoints;
    if (first === undefined) return [];
    const { identity, identityLabels: labels, namedPorts, namespace, workload } = first;
    const { number, rules } = listOf(world.repo.select(labels, identity));
    // Besides the rules a policy depends on the namespace, in which listeners are looked for, and on the named ports.
    const key = `${number} ${namespaceOf(labels)} ${subjectKey({ identity: reservedIdentity.unknown, labels, namedPorts })}`;
    const policy = kept(policies, key, () => world.policyOf({ identity, labels, namedPorts }));
    return [{ id: identity, name: `${namespace}/${workload.name}`, namespace, labels, rules, policy, endpoints }];
  });
}

/** Gives the same list for lists of the same rules, with its number. */
function shareLists(): (rules: readonly Rule[]) => { readonly number: number; readonly rules: readonly Rule[] } {
  const numbers = new Map<Rule, number>();
  const lists = new Map<string, { readonly number: number; readonly rules: readonly Rule[] }>();
  return (rules) => {
    for (const rule of rules) if (!numbers.has(rule)) numbers.set(rule, numbers.size);
    return kept(lists, rules.map((rule) => numbers.get(rule)).join(), () => ({ number: lists.size, rules }));
  };
}

/** One of each of the pods that the same rules select: what only the rules decide is the same for the others. */
export function differentlyRuled(pods: readonly Pods[]): Pods[] {
  return [...Map.groupBy(pods, ({ rules }) => rules).values()].flatMap(([first]) => first ?? []);
}

/** The pods with some rule that has this key, in their order; made once for a list of pods. */
const podsBy = <K extends object>(keyOf: (rule: Rule) => K) =>
  once((pods: readonly Pods[]): ReadonlyMap<K, readonly Pods[]> => {
    const found = new Map<K, Pods[]>();
    for (const pod of pods) {
      for (const rule of pod.rules) {
        const list = kept(found, keyOf(rule), () => []);
        if (list.at(-1) !== pod) list.push(pod);
      }
    }
    return found;
  });

/** The pods that each rule selects. */
export const podsByRule = podsBy((rule) => rule);

/** The pods that each entry of a policy is about, whatever the engine made of it. */
export const podsByEntry = podsBy(({ origin }) => origin);

/** The pods that each policy selects. */
export const podsByPolicy = podsBy(({ policy }) => policy);

const takenOf = once((_: readonly Pods[]) => new Map<string, readonly Pods[]>());

/** The pods that a peer selector takes. */
export function taken(peer: PeerSelector, pods: readonly Pods[]): readonly Pods[] {
  return kept(takenOf(pods), peer.text, () => pods.filter((one) => selects(peer, one.labels, undefined)));
}

const receivers = once((_: readonly Pods[]) => new Map<string, readonly Pods[]>());

/** The pods whose ports a rule is about: those that it selects, or, on egress, its peers. The same list for rules of the same selectors. */
export function receiversOf({ repo }: World, rule: Rule, pods: readonly Pods[]): readonly Pods[] {
  const known = receivers(pods);
  if (rule.direction === "ingress") {
    const selected = () => pods.filter(({ labels }) => !rule.onNode && matches(rule.subject, labels));
    return kept(known, `ingress ${rule.onNode} ${rule.subject.text}`, selected);
  }
  const peers = repo.peersOf(rule).filter((peer) => !peer.any);
  return kept(known, `egress ${JSON.stringify(peers.map(({ text }) => text))}`, () => [
    ...new Set(peers.flatMap((peer) => taken(peer, pods))),
  ]);
}

/** The identities that a peer selector takes, pods or not; everybody is not listed. */
export function identitiesOf(peer: PeerSelector, world: World): ReadonlySet<NumericIdentity> {
  return world.cache.acquire(peer, world).identities;
}

/** The namespace of an identity; empty when it has none. */
export function namespaceOf(labels: LabelSet | undefined): string {
  return labels?.get("k8s", labelKey.namespace)?.value ?? "";
}
