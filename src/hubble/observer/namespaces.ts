import type { Endpoint, Flow } from "#api/gen/flow/flow_pb.ts";

/** The namespaces that flows were seen of lately. */
export interface NamespaceLog {
  note(flow: Flow): void;
  /** Sorted by cluster and namespace. */
  list(): readonly { readonly cluster: string; readonly namespace: string }[];
}

const KEEP_MS = 3_600_000;

/** A log that forgets a namespace an hour after its last flow, as upstream. */
export function createNamespaceLog(now: () => number = Date.now): NamespaceLog {
  const seen = new Map<string, { cluster: string; namespace: string; at: number }>();
  const noteEndpoint = (endpoint: Endpoint | undefined) => {
    if (endpoint === undefined || endpoint.namespace === "") return;
    const key = `${endpoint.clusterName}/${endpoint.namespace}`;
    const known = seen.get(key);
    if (known === undefined) seen.set(key, { cluster: endpoint.clusterName, namespace: endpoint.namespace, at: now() });
    else known.at = now();
  };
  return {
    note(flow) {
      noteEndpoint(flow.source);
      noteEndpoint(flow.destination);
    },
    list() {
      const alive = now() - KEEP_MS;
      for (const [key, { at }] of seen) if (at < alive) seen.delete(key);
      return [...seen.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { cluster, namespace }]) => ({ cluster, namespace }));
    },
  };
}
