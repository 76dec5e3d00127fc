import { setTimeout as delay } from "node:timers/promises";
import type { Manifest } from "#k8s/apply.ts";
import type { Cluster } from "#k8s/client.ts";
import type { ClusterOptions } from "./config.ts";

type Options = ClusterOptions & { readonly ui: boolean };

/** `hubble enable`: the relay, and with `ui` the page, on a cluster that has Cilium. Waits until they are ready; does nothing to what is there already. */
export async function hubbleEnable(options: Options, signal: AbortSignal): Promise<void> {
  const { applyAll } = await import("#k8s/apply.ts");
  await withCluster(options, async (cluster) => {
    const objects = await objectsOf(options);
    await applyAll(cluster, objects, "cilium-cli");
    for (const { kind, metadata } of objects) {
      if (kind === "Deployment") await ready(cluster, { namespace: options.namespace, name: metadata.name }, signal);
    }
  });
}

/** `hubble disable`: takes the relay and the page away; the agents' own servers stay. */
export async function hubbleDisable(options: ClusterOptions): Promise<void> {
  const { deleteAll } = await import("#k8s/apply.ts");
  await withCluster(options, async (cluster) => deleteAll(cluster, await objectsOf({ ...options, ui: true })));
  process.stdout.write("✅ Hubble Relay and Hubble UI are gone\n");
}

async function withCluster(options: ClusterOptions, work: (cluster: Cluster) => Promise<void>): Promise<void> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  await work(cluster);
}

async function objectsOf({ namespace, ui }: Options): Promise<Manifest[]> {
  const { readManifest } = await import("#lab/manifests.ts");
  const objects = readManifest("hubble.yaml") as unknown as Manifest[];
  const wanted = objects.filter(({ metadata }) => ui || metadata.name !== "hubble-ui");
  return wanted.map((object) => inNamespace(object, namespace));
}

/** The object, and the service accounts that it names, in this namespace; what is in none stays so. */
function inNamespace(object: Manifest & { readonly subjects?: readonly object[] }, namespace: string): Manifest {
  const own = object.metadata.namespace === undefined ? object.metadata : { ...object.metadata, namespace };
  const subjects = object.subjects && { subjects: object.subjects.map((one) => ({ ...one, namespace })) };
  return { ...object, metadata: own, ...subjects };
}

const READY_MS = 120_000;

async function ready(cluster: Cluster, ref: { readonly namespace: string; readonly name: string }, signal: AbortSignal): Promise<void> {
  const { isComplete } = await import("#k8s/apply.ts");
  for (const deadline = Date.now() + READY_MS; !(await isComplete(cluster, ref)); await delay(200, undefined, { signal })) {
    if (Date.now() > deadline) throw new Error(`${ref.name} is not ready after ${READY_MS / 1000} s: kubectl -n ${ref.namespace} get pods`);
  }
  process.stdout.write(`✅ ${ref.name === "hubble-ui" ? "Hubble UI" : "Hubble Relay"} is ready\n`);
}
