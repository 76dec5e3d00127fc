import { clusterSource, type SourcedObject } from "#policy/world/objects.ts";
import { createWorld, type World } from "#policy/world/world.ts";
import { readAllObjects, readObjects } from "./object-files.ts";

/** Where a policy command takes its world from. */
export interface WorldOptions {
  readonly kubeconfig?: string | undefined;
  /** Namespace that Cilium runs in: its settings are there. */
  readonly namespace: string;
  /** `--policies`: files and directories, or the word `cluster`. */
  readonly policies?: readonly string[] | undefined;
  /** `--pods`: files and directories with everything else, or the word `cluster`. */
  readonly pods?: readonly string[] | undefined;
  /** Takes policies with a misspelt kind for objects like any other instead of refusing the file. */
  readonly keepMisspelt?: boolean | undefined;
}

/** Stands for the live cluster where files may be given. */
export const CLUSTER = "cluster";

/**
 * The world that the flags name: without `--policies` and `--pods` the live cluster, with either of them files alone, except where the word
 * `cluster` is given. All files are looked through for every kind of object. Rejects when a file or the cluster cannot be read.
 */
export async function loadWorld(options: WorldOptions): Promise<World> {
  return createWorld(await loadObjects(options));
}

/** Whether its pods are those of a live cluster, whose agents can be asked. */
export function hasAgents({ policies = [], pods = [] }: WorldOptions): boolean {
  return pods.includes(CLUSTER) || policies.length + pods.length === 0;
}

/** The objects of `loadWorld`, for who wants to add some. */
export async function loadObjects(options: WorldOptions): Promise<SourcedObject[]> {
  const { policies = [], pods = [] } = options;
  const live = policies.length === 0 && pods.length === 0;
  const read = options.keepMisspelt === true ? readAllObjects : readObjects;
  const files = read([...policies, ...pods].filter((path) => path !== CLUSTER));
  const fromCluster = await Promise.all([
    live || policies.includes(CLUSTER) ? clusterObjects(options, "policies") : [],
    live || pods.includes(CLUSTER) ? clusterObjects(options, "subjects") : [],
  ]);
  // Files come last: an object in a file stands for the cluster's object of the same name.
  return [...fromCluster.flat(), ...files];
}

async function clusterObjects(options: WorldOptions, wanted: "policies" | "subjects"): Promise<SourcedObject[]> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  const { groupObjects, policyObjects, subjectObjects } = await import("#k8s/policy-objects.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  // Groups of blocks go with the policies that name them, and with the pods: policies in files may name those of the cluster.
  const objects =
    wanted === "policies"
      ? (await Promise.all([policyObjects(cluster), groupObjects(cluster)])).flat()
      : await subjectObjects(cluster, options.namespace);
  return objects.map((object) => ({ object, source: clusterSource }));
}
