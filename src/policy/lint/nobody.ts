import { label, labelKey } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { holds, type Requirement, selectorOf } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import type { World, WorldEndpoint } from "../world/world.ts";
import { isOfNamespace, namespacesOf, type Reason } from "./namespaces.ts";
import { kept, once } from "./once.ts";

/** The requirements on the pods themselves that an author wrote, in kubectl's notation. */
export function written(requirements: readonly Requirement[]): string {
  const own = requirements.filter((one) => !one.key.startsWith("io.cilium.") && !isOfNamespace(one));
  return own.length === 0 ? "" : selectorOf(own).text.replaceAll(/(^|,)(!?)k8s:/g, "$1$2");
}

/** A pod's labels, those too that identities leave out. */
export const labelsOf = once(({ labels }: WorldEndpoint) => labelSetOf(Object.entries(labels).map(([key, value]) => label(key, value))));

/** The labels of all pods by their keys. */
const known = once(({ endpoints }: World) => {
  const labels = endpoints.flatMap(({ identityLabels }) => identityLabels.labels);
  const values = new Map<string, Set<string>>();
  for (const { source, key, value } of labels) if (source === "k8s") kept(values, key, () => new Set()).add(value);
  const keys = [...values.keys()].filter((one) => one === labelKey.namespace || !one.startsWith("io."));
  return {
    all: new Set(labels.map(({ key }) => key)),
    keys,
    values: new Map(Array.from(values, ([key, set]) => [key, { set, list: [...set] }])),
  };
});

/** Two requirements that nobody can meet at once. */
export function contradiction(requirements: readonly Requirement[]): Reason | undefined {
  for (const one of requirements) {
    if (one.operator !== "In") continue;
    // Requirements of another source are about another label.
    const others = requirements.filter(({ source, key }) => key === one.key && (source === one.source || source === "any"));
    const left = one.values.filter((value) => others.every((other) => holds(other, labelSetOf([label(one.key, value, other.source)]))));
    if (left.length > 0) continue;
    const message = `no pod can be ${selectorOf(others).text} at once`;
    return { id: "L05", severity: "warning", message, fix: "take one of the two out" };
  }
  return undefined;
}

/** A label that pods have and identities, by which policies select, do not. */
export function leftOut(requirements: readonly Requirement[], { endpoints }: World): Reason | undefined {
  for (const one of requirements) {
    if (one.operator !== "In" && one.operator !== "Exists") continue;
    const pod = endpoints.find((pod) => holds(one, labelsOf(pod)));
    if (pod === undefined || pod.identityLabels.of(one.key).length > 0) continue;
    const message = `${pod.namespace}/${pod.name} has the label ${one.key}, but identities leave it out, and policies select by identity`;
    return { id: "L05", severity: "warning", message, fix: "select by another label, or include this one by the agent's setting `labels`" };
  }
  return undefined;
}

/** A key that is taken for one that names the namespace, or an entity written as a label. */
export function mistakenKey(requirements: readonly Requirement[], world: World): Reason | undefined {
  for (const { source, key, values } of requirements) {
    const [value = ""] = values;
    if (isOfNamespace({ source, key, values, operator: "In" })) continue;
    if (known(world).all.has(key) || (source !== "any" && source !== "k8s")) continue;
    if (key === "reserved" || key === "entity") {
      const message = `no pod has a label "${key}"; groups of peers such as ${value || "world"} are entities`;
      return { id: "L16", severity: "warning", message, fix: `write them under fromEntities or toEntities: [${value || "world"}]` };
    }
    if (!namespacesOf(world).has(value) || !/namespace|name?space|metadata\.name|^ns$/i.test(key)) continue;
    const message = `no pod has a label "${key}"; which namespace a pod is in, another one says`;
    return { id: "L16", severity: "warning", message, fix: `write "k8s:${labelKey.namespace}: ${value}"` };
  }
  return undefined;
}

/** A key or value that no pod has while another has one that is nearly the same. */
export function misspelt(requirements: readonly Requirement[], world: World): Reason | undefined {
  const { keys, values: valuesOf } = known(world);
  for (const { source, key, operator, values } of requirements) {
    if (key.startsWith("io.cilium.") || source === "reserved" || operator === "DoesNotExist") continue;
    const there = valuesOf.get(key);
    const at = { id: "L16", severity: operator === "NotIn" ? "info" : "warning" } as const;
    const nearKey = there === undefined ? didYouMean(key, keys) : "";
    if (nearKey !== "") return { ...at, message: `no pod has a label "${key}"${nearKey}`, fix: "correct the key" };
    for (const value of values.filter((one) => there?.set.has(one) !== true)) {
      const near = didYouMean(value, there?.list ?? []);
      if (near !== "") return { ...at, message: `no pod has ${key}=${value}${near}`, fix: "correct the value, or the pods' label" };
    }
  }
  return undefined;
}
