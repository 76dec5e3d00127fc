import type { JsonObject } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import { REVIEWS, type Review } from "../resources/reviews.ts";
import { groupVersions } from "./legacy.ts";
import { subresourceEntries } from "./subresources.ts";

/** Aggregated discovery (`apidiscovery.k8s.io/v2`): everything below `/api` or `/apis` in one document. */
export function aggregatedDiscovery(resources: readonly Resource[], root: "api" | "apis", version: string): JsonObject {
  const groups = [...groupVersions(resources)].filter(([group]) => (root === "api") === (group === ""));
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: group === "" ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
      versions: versions.map((one) => groupVersion(resources, group, one)),
    })),
  };
}

function groupVersion(resources: readonly Resource[], group: string, version: string): JsonObject {
  const here = resources.filter((one) => one.group === group && one.version === version);
  const reviews = REVIEWS.filter((one) => one.group === group && one.version === version);
  return { version, freshness: "Current", resources: [...here.map(describe), ...reviews.map(describeReview)] };
}

function describe(resource: Resource): JsonObject {
  const { group, version, shortNames, categories } = resource;
  const subresources = subresourceEntries(resource).map((sub) => ({
    subresource: sub.name,
    responseKind: { group: sub.group ?? group, version: sub.version ?? version, kind: sub.kind },
    verbs: sub.verbs,
  }));
  return {
    resource: resource.resource,
    responseKind: { group, version, kind: resource.kind },
    scope: resource.namespaced ? "Namespaced" : "Cluster",
    singularResource: resource.singular,
    verbs: resource.verbs,
    ...(shortNames.length > 0 ? { shortNames } : {}),
    ...(categories.length > 0 ? { categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}

const describeReview = ({ group, version, kind, resource, namespaced }: Review): JsonObject => ({
  resource,
  responseKind: { group, version, kind },
  scope: namespaced ? "Namespaced" : "Cluster",
  singularResource: kind.toLowerCase(),
  verbs: ["create"],
});
