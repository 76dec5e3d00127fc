import { label, labelKey } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { holds, type Requirement, selectorOf } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import type { World } from "../world/world.ts";
import { isOfNamespace, namespacesOf, type Reason } from "./namespaces.ts";

/** The requirements on the pods themselves that an author wrote, in kubectl's notation. */
export function written(requirements: readonly Requirement[]): string {
  const own = requirements.filter((one) => !one.key.startsWith("io.cilium.") && !isOfNamespace(one));
  return own.length === 0 ? "" : selectorOf(own).text.replaceAll(/(^|,)(!?)k8s:/g, "$1$2");
}

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
    const pod = endpoints.find(({ labels }) => holds(one, labelSetOf(Object.entries(labels).map(([key, value]) => label(key, value)))));
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
    const known = world.endpoints.some(({ identityLabels }) => identityLabels.of(key).length > 0);
    if (known || (source !== "any" && source !== "k8s")) continue;
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
export function misspelt(requirements: readonly Requirement[], { endpoints }: World): Reason | undefined {
  const labels = endpoints.flatMap(({ identityLabels }) => identityLabels.labels.filter(({ source }) => source === "k8s"));
  const keys = [...new Set(labels.map(({ key }) => key))].filter((one) => one === labelKey.namespace || !one.startsWith("io."));
  for (const { source, key, operator, values } of requirements) {
    if (key.startsWith("io.cilium.") || source === "reserved" || operator === "DoesNotExist") continue;
    const known = [...new Set(labels.filter((one) => one.key === key).map(({ value }) => value))];
    const at = { id: "L16", severity: operator === "NotIn" ? "info" : "warning" } as const;
    const nearKey = known.length === 0 ? didYouMean(key, keys) : "";
    if (nearKey !== "") return { ...at, message: `no pod has a label "${key}"${nearKey}`, fix: "correct the key" };
    for (const value of values.filter((one) => !known.includes(one))) {
      const near = didYouMean(value, known);
      if (near !== "") return { ...at, message: `no pod has ${key}=${value}${near}`, fix: "correct the value, or the pods' label" };
    }
  }
  return undefined;
}
