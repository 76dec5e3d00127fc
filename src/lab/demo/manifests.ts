import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type Cluster, isNotFound } from "#k8s/client.ts";
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  DEPLOYMENTS,
  NAMESPACES,
  type Resource,
  SERVICES,
} from "#k8s/resources.ts";
import type { KubeObject } from "#k8s/types.ts";
import { PROJECT } from "../paths.ts";

const RESOURCES: Readonly<Record<string, Resource<KubeObject>>> = {
  Namespace: NAMESPACES,
  Deployment: DEPLOYMENTS,
  Service: SERVICES,
  CiliumNetworkPolicy: CILIUM_NETWORK_POLICIES,
  CiliumClusterwideNetworkPolicy: CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
} as Readonly<Record<string, Resource<KubeObject>>>;

/** A `cilium.io` policy or any other object, with its kind. */
export type Manifest = KubeObject & { readonly kind: string };

/** The objects of a file of `examples/policy-progression`. */
export function readExample(file: string): Manifest[] {
  const text = readFileSync(join(PROJECT, "examples/policy-progression", file), "utf8");
  return parseAllDocuments(text).map((document) => document.toJSON() as Manifest);
}

function resourceOf(object: Manifest): Resource<KubeObject> {
  const resource = RESOURCES[object.kind];
  if (!resource) throw new Error(`the demo does not know the kind ${object.kind}`);
  return resource;
}

/** Server-side apply, object by object. */
export async function applyAll(cluster: Cluster, objects: readonly Manifest[]): Promise<Manifest[]> {
  const applied: Manifest[] = [];
  for (const object of objects) {
    const result = await cluster.patch(resourceOf(object), object.metadata, "apply", object, {
      fieldManager: "cilium-lab-demo",
      force: true,
    });
    applied.push({ ...result, kind: object.kind });
  }
  return applied;
}

/** Deletes what is there of these objects. */
export async function deleteAll(cluster: Cluster, objects: readonly Manifest[]): Promise<void> {
  await Promise.all(
    objects.map((object) =>
      cluster.delete(resourceOf(object), object.metadata).catch((thrown: unknown) => {
        if (!isNotFound(thrown)) throw thrown;
      }),
    ),
  );
}
