import type { NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration } from "kubernetes-types/core/v1.js";
import type { Node } from "../objects.ts";

/** Whether one of the tolerations covers the taint. */
export function tolerates(tolerations: readonly Toleration[] | undefined, taint: Taint): boolean {
  return (tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (!toleration.key) return toleration.operator === "Exists";
    if (toleration.key !== taint.key) return false;
    return toleration.operator === "Exists" || (toleration.value ?? "") === (taint.value ?? "");
  });
}

/** Whether the node has all of the labels. */
export function selectorAllows(selector: Readonly<Record<string, string>> | undefined, node: Node): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => node.metadata.labels?.[key] === value);
}

/** Whether the required part of a node affinity holds: one of its terms. */
export function affinityAllows(affinity: NodeAffinity | undefined, node: Node): boolean {
  const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** Sum of the weights of the preferred terms that hold. */
export function affinityScore(affinity: NodeAffinity | undefined, node: Node): number {
  const preferred = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return preferred.reduce((sum, { weight, preference }) => sum + (matchesTerm(preference, node) ? weight : 0), 0);
}

function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  const fields = { "metadata.name": node.metadata.name };
  return (
    (term.matchExpressions ?? []).every((requirement) => matches(requirement, labels)) &&
    (term.matchFields ?? []).every((requirement) => matches(requirement, fields))
  );
}

function matches({ key, operator, values = [] }: NodeSelectorRequirement, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
