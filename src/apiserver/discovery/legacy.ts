import type { JsonObject } from "../object.ts";
import { apiVersionOf, type Resource } from "../resources/resource.ts";
import { REVIEWS } from "../resources/reviews.ts";
import { subresourceEntries } from "./subresources.ts";

/** Groups of the API with their versions, the preferred one first. */
export function groupVersions(resources: readonly Resource[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  const all = [...resources.map(({ group, version }) => ({ group, version })), ...REVIEWS];
  for (const { group, version } of all) {
    const versions = groups.get(group) ?? [];
    if (!versions.includes(version)) versions.push(version);
    groups.set(group, versions);
  }
  for (const versions of groups.values()) versions.sort(byStability);
  return groups;
}

/** v2, v1, v1beta1, v1alpha1: as Kubernetes orders versions. */
function byStability(a: string, b: string): number {
  const rank = (version: string) => {
    const [, major = "0", stage = "", minor = "0"] = /^v(\d+)(alpha|beta)?(\d+)?$/.exec(version) ?? [];
    return (stage === "" ? 2e6 : stage === "beta" ? 1e6 : 0) + Number(major) * 1000 + Number(minor);
  };
  return rank(b) - rank(a);
}

/** `GET /apis`. */
export function groupList(resources: readonly Resource[]): JsonObject {
  const groups = [...groupVersions(resources)].filter(([group]) => group !== "").map(([group, versions]) => apiGroup(group, versions));
  return { kind: "APIGroupList", apiVersion: "v1", groups };
}

/** `GET /apis/GROUP`. */
export function apiGroup(group: string, versions: readonly string[]): JsonObject {
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { kind: "APIGroup", apiVersion: "v1", name: group, versions: entries, preferredVersion: entries[0] };
}

/** `GET /api/v1` and `GET /apis/GROUP/VERSION`; undefined when nothing is served there. */
export function resourceList(resources: readonly Resource[], group: string, version: string): JsonObject | undefined {
  const here = resources.filter((one) => one.group === group && one.version === version);
  const reviews = REVIEWS.filter((one) => one.group === group && one.version === version);
  if (here.length === 0 && reviews.length === 0) return undefined;
  const entries = [
    ...here.flatMap(resourceEntries),
    ...reviews.map((review) => ({
      name: review.resource,
      singularName: review.kind.toLowerCase(),
      namespaced: review.namespaced,
      kind: review.kind,
      verbs: ["create"],
    })),
  ];
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersionOf({ group, version }), resources: entries };
}

function resourceEntries(resource: Resource): JsonObject[] {
  const { shortNames, categories, namespaced } = resource;
  const main = {
    name: resource.resource,
    singularName: resource.singular,
    namespaced,
    kind: resource.kind,
    verbs: resource.verbs,
    ...(shortNames.length > 0 ? { shortNames } : {}),
    ...(categories.length > 0 ? { categories } : {}),
    storageVersionHash: Buffer.from(resource.storage).toString("base64").slice(0, 12),
  };
  const subs = subresourceEntries(resource).map(({ name, kind, verbs, group, version }) => ({
    name: `${resource.resource}/${name}`,
    singularName: "",
    namespaced,
    ...(group === undefined ? {} : { group, version }),
    kind,
    verbs,
  }));
  return [main, ...subs];
}
