import { createHash } from "node:crypto";
import type { PodTemplateSpec } from "kubernetes-types/core/v1.js";
import type { OwnerReference } from "kubernetes-types/meta/v1.js";
import type { Cluster } from "../cluster.ts";
import { type AnyObject, keyOf, type Meta, type Pod } from "../objects.ts";
import type { Source } from "./controller.ts";

/** The reference by which `owner` controls an object. */
export function controllerReference(owner: AnyObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The reference to what controls this object. */
export function controllerOf(object: { readonly metadata: Meta }): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller);
}

/** What `owner` controls, of one resource. */
export function ownedBy<T extends { readonly metadata: Meta }>(cluster: Cluster, resource: string, owner: AnyObject): T[] {
  const { items } = cluster.list<T>(resource, { namespace: owner.metadata.namespace });
  return items.filter((object) => controllerOf(object)?.uid === owner.metadata.uid);
}

/** The object itself as a source of keys. */
export function itself(resource: string): Source {
  return { resource, keys: (object) => [keyOf(object)] };
}

/** What controllers of this kind own: a change of it concerns its controller. */
export function ownedByKind(resource: string, kind: string): Source {
  return {
    resource,
    keys: (object) => {
      const owner = controllerOf(object);
      return owner?.kind === kind ? [`${object.metadata.namespace}/${owner.name}`] : [];
    },
  };
}

/** A pod of a template, for `cluster.create`. */
export function podOf(
  owner: AnyObject,
  template: PodTemplateSpec,
  more: { readonly name?: string; readonly labels?: Readonly<Record<string, string>>; readonly nodeName?: string } = {},
) {
  const { name, nodeName } = more;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...(name ? { name } : { generateName: `${owner.metadata.name}-` }),
      namespace: owner.metadata.namespace,
      labels: { ...template.metadata?.labels, ...more.labels },
      annotations: template.metadata?.annotations ?? {},
      ownerReferences: [controllerReference(owner)],
    },
    spec: { ...template.spec, ...(nodeName ? { nodeName } : {}) },
  };
}

// Kubernetes' alphabet for random suffixes: no vowels, so no words.
const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";

/** A short name part that depends on nothing but the value, in the letters of Kubernetes' suffixes. */
export function hashOf(value: unknown, length = 10): string {
  const digest = createHash("sha256").update(JSON.stringify(value)).digest();
  return [...digest.subarray(0, length)].map((byte) => SUFFIX_LETTERS[byte % SUFFIX_LETTERS.length]).join("");
}

/** The pods to give up first: not scheduled, then not ready, then the youngest. */
export function byWorth(a: Pod, b: Pod): number {
  const rank = (pod: Pod) =>
    (pod.spec.nodeName ? 0 : 2) + (pod.status?.conditions?.some((it) => it.type === "Ready" && it.status === "True") ? 0 : 1);
  return rank(b) - rank(a) || String(b.metadata.creationTimestamp).localeCompare(String(a.metadata.creationTimestamp));
}
