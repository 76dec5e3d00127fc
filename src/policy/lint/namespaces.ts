import { label, labelKey } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { holds, type Requirement } from "#labels/selector.ts";
import { didYouMean } from "../parse/reading.ts";
import { clusterSource, identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { once } from "./once.ts";

/** Why a selector matches nobody, as far as that can be told. */
export type Reason = Pick<Finding, "id" | "severity" | "message" | "fix">;

const nameLabel = "kubernetes.io/metadata.name";
const labelPrefix = `${labelKey.namespaceLabels}.`;

const kindsOf = once(({ objects }: World) => ({
  live: objects.some(({ source }) => source === clusterSource),
  kinds: new Set(objects.map(({ object }) => identityOf(object).kind)),
}));

/** Whether all objects of a kind are known: those of a cluster are, and of files that have some it is assumed. */
export function knowsAll(world: World, kind: string): boolean {
  const { live, kinds } = kindsOf(world);
  return live || kinds.has(kind);
}

/** Whether a world is a cluster's, or has at least some objects of one. */
export function isLive(world: World): boolean {
  return kindsOf(world).live;
}

/** The namespaces of a world with their labels: those that are there as objects, and those with pods. */
export const namespacesOf = once(({ namespaces, endpoints }: World): ReadonlyMap<string, Readonly<Record<string, string>>> => {
  const named = new Set([...namespaces.keys(), ...endpoints.map(({ namespace }) => namespace)]);
  return new Map(Array.from(named, (name) => [name, { [nameLabel]: name, ...namespaces.get(name) }]));
});

/** The labels of namespaces as pods have them. */
const namespaceSets = once((world: World) =>
  Array.from(namespacesOf(world).values(), (labels) =>
    labelSetOf(Object.entries(labels).map(([name, value]) => label(`${labelPrefix}${name}`, value))),
  ),
);

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
  if (asked.length === 0 || namespaceSets(world).some((set) => asked.every((one) => holds(one, set))) || !knowsAll(world, "Namespace"))
    return undefined;
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
