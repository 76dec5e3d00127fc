import { type FSWatcher, watch } from "node:fs";
import { type Cluster, unlessGone } from "../cluster.ts";
import { keyOf, type Pod } from "../objects.ts";
import { networkDirectory } from "./cni.ts";
import { startNodeStatus } from "./node-status.ts";
import { type PodDeps, PodWorker } from "./pod.ts";

/** The pods of one node. */
export interface Kubelet extends AsyncDisposable {
  readonly host: PodDeps["host"];
  worker(pod: Pod): PodWorker | undefined;
  workers(): readonly PodWorker[];
}

/** Registers the node and runs the pods that are assigned to it. Disposing ends them all, without asking the API server. */
export function startKubelet(deps: PodDeps): Kubelet {
  const { cluster, host } = deps;
  const workers = new Map<string, PodWorker>();
  const drop = (uid: string) => {
    const worker = workers.get(uid);
    workers.delete(uid);
    void worker?.kill();
  };
  const status = startNodeStatus(deps);
  const network = watchNetwork(deps, () => status.refresh());
  const pods = cluster.watch<Pod>("pods", {
    fieldSelector: `spec.nodeName=${host.config.name}`,
    onEvent: ({ type, object: pod }) => {
      const { uid } = pod.metadata;
      if (type === "DELETED") drop(uid);
      else if (workers.has(uid)) workers.get(uid)?.update(pod);
      else if (!pod.metadata.deletionTimestamp) workers.set(uid, new PodWorker(deps, pod));
      else unlessGone(() => cluster.delete("pods", pod.metadata.name, pod.metadata.namespace, { gracePeriodSeconds: 0, uid }));
    },
  });
  const volumes = ["configmaps", "secrets"].map((resource) => watchVolumes(cluster, resource, workers));
  return {
    host,
    worker: (pod) => workers.get(pod.metadata.uid),
    workers: () => [...workers.values()],
    async [Symbol.asyncDispose]() {
      network.close();
      for (const one of [pods, status, ...volumes]) one[Symbol.dispose]();
      await Promise.all([...workers.values()].map((worker) => worker.kill()));
    },
  };
}

// The node is ready when a CNI agent has written its configuration.
function watchNetwork({ host }: PodDeps, onChange: () => void): FSWatcher {
  return watch(networkDirectory(host), { persistent: false }, onChange);
}

function watchVolumes(cluster: Cluster, resource: string, workers: ReadonlyMap<string, PodWorker>): Disposable {
  let synced = false;
  return cluster.watch<Pod>(resource, {
    onEvent: ({ object }) => {
      // What was there before is in the volumes; an optional one may come later.
      if (!synced) return;
      for (const worker of workers.values()) if (mentions(worker.pod, resource, keyOf(object))) worker.refreshVolumes();
    },
    onSynced: () => {
      synced = true;
    },
  });
}

function mentions(pod: Pod, resource: string, key: string): boolean {
  const kind = resource === "configmaps" ? "configMap" : "secret";
  return (pod.spec.volumes ?? []).some((volume) => {
    const sources = [volume, ...(volume.projected?.sources ?? [])];
    const names = sources.map((source) => (kind === "configMap" ? source.configMap?.name : nameOfSecret(source.secret)));
    return names.some((name) => name !== undefined && `${pod.metadata.namespace}/${name}` === key);
  });
}

function nameOfSecret(secret: { readonly secretName?: string; readonly name?: string } | undefined): string | undefined {
  return secret?.secretName ?? secret?.name;
}
