import { label, labelKey } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { holds, type Requirement } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import { clusterSource, identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";

/** Why a selector matches nobody, as far as that can be told. */
export type Reason = Pick<Finding, "id" | "severity" | "message" | "fix">;

const nameLabel = "kubernetes.io/metadata.name";
const labelPrefix = `${labelKey.namespaceLabels}.`;

/** Whether all objects of a kind are known: those of a cluster are, and of files that have some it is assumed. */
export function knowsAll({ objects }: World, kind: string): boolean {
  return objects.some(({ object, source }) => source === clusterSource || identityOf(object).kind === kind);
}

/** The namespaces of a world with their labels: those that are there as objects, and those with pods. */
export function namespacesOf({ namespaces, endpoints }: World): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const named = [...namespaces.keys(), ...endpoints.map(({ namespace }) => namespace)];
  return new Map(named.map((name) => [name, { [nameLabel]: name, ...namespaces.get(name) }]));
}

/** Whether a requirement is about which namespace it is, rather than about the pod. */
export function isOfNamespace({ key }: Requirement): boolean {
  return key === labelKey.namespace || key.startsWith(labelPrefix);
}

/** The namespaces that requirements speak of, in words: `shop`, `namespaces with team=red`, `any namespace`. */
export function namespacesIn(requirements: readonly Requirement[]): string {
  const named = requirements.find(({ key, operator }) => key === labelKey.namespace && operator === "In");
  if (named !== undefined) return named.values.join(", ");
  const labels = requirements.filter(({ key }) => key.startsWith(labelPrefix)).map(wordsOf);
  return labels.length === 0 ? "any namespace" : `namespaces with ${labels.join(" and ")}`;
}

function wordsOf({ key, operator, values }: Requirement): string {
  const name = key.slice(labelPrefix.length);
  if (operator === "Exists" || operator === "DoesNotExist") return operator === "Exists" ? name : `no ${name}`;
  return `${name}${operator === "In" ? "=" : "!="}${values.join("|")}`;
}

/** Namespaces that requirements name and that do not exist, or labels that no namespace has. */
export function namespaceReason(requirements: readonly Requirement[], world: World): Reason | undefined {
  const known = namespacesOf(world);
  if (known.size === 0) return undefined;
  for (const { key, operator, values } of requirements) {
    if (key !== labelKey.namespace || operator !== "In") continue;
    const missing = values.find((one) => !known.has(one));
    const reason = missing === undefined ? undefined : missingNamespace(missing, [...known.keys()], world);
    if (reason !== undefined) return reason;
  }
  const asked = requirements.filter((one) => one.key.startsWith(labelPrefix));
  const meets = (labels: Readonly<Record<string, string>>) => {
    const set = labelSetOf(Object.entries(labels).map(([name, value]) => label(`${labelPrefix}${name}`, value)));
    return asked.every((one) => holds(one, set));
  };
  if (asked.length === 0 || [...known.values()].some(meets) || !knowsAll(world, "Namespace")) return undefined;
  return missingLabels(asked, known);
}

function missingNamespace(name: string, known: readonly string[], world: World): Reason | undefined {
  const near = didYouMean(name, known);
  const sure = knowsAll(world, "Namespace");
  const message = sure ? `there is no namespace "${name}"` : `nobody known is in a namespace "${name}"`;
  if (near !== "") return { id: "L16", severity: "warning", message: `${message}${near}`, fix: "correct the namespace" };
  // Kubernetes' own ones are everywhere; files rarely have them.
  if (/^(kube-|default$)/.test(name)) return undefined;
  return { id: "L05", severity: sure ? "warning" : "info", message, fix: "create it first, or correct the namespace" };
}

function missingLabels(asked: readonly Requirement[], known: ReadonlyMap<string, Readonly<Record<string, string>>>): Reason {
  const message = `no namespace has ${asked.map(wordsOf).join(" and ")}`;
  for (const { key, values } of asked) {
    const name = key.slice(labelPrefix.length);
    const meant = values.find((value) => known.has(value));
    if (meant !== undefined && name !== nameLabel)
      return { id: "L16", severity: "warning", message, fix: `write ${nameLabel}: ${meant}, which every namespace has with its name` };
    const there = [...known.values()].flatMap((labels) => labels[name] ?? []);
    const near = didYouMean(
      there.length === 0 ? name : (values[0] ?? ""),
      there.length === 0 ? [...known.values()].flatMap((labels) => Object.keys(labels)) : there,
    );
    if (near !== "") return { id: "L16", severity: "warning", message: `${message}${near}`, fix: "correct the selector" };
  }
  return { id: "L05", severity: "warning", message, fix: "label the namespace, or correct the selector; `kubectl get ns --show-labels`" };
}
