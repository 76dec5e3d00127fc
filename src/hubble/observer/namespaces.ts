import type { Endpoint, Flow } from "#api/gen/flow/flow_pb.ts";

/** The namespaces that flows were seen of lately. */
export interface NamespaceLog {
  note(flow: Flow): void;
  /** Sorted by cluster and namespace. */
  list(): readonly { readonly cluster: string; readonly namespace: string }[];
}

const KEEP_MS = 3_600_000;

interface Seen {
  readonly cluster: string;
  readonly namespace: string;
  /** When last, milliseconds since 1970. */
  at: number;
}

/** A log that forgets a namespace an hour after its last flow, as upstream. */
export function createNamespaceLog(now: () => number = Date.now): NamespaceLog {
  const seen = new Map<string, Seen>();
  /** Endpoints are the same messages in many flows. */
  const ofEndpoint = new WeakMap<Endpoint, Seen>();
  const noteEndpoint = (endpoint: Endpoint | undefined) => {
    if (endpoint === undefined || endpoint.namespace === "") return;
    let known = ofEndpoint.get(endpoint);
    if (known === undefined || known.at < now() - KEEP_MS) {
      const key = `${endpoint.clusterName}/${endpoint.namespace}`;
      known = seen.get(key) ?? { cluster: endpoint.clusterName, namespace: endpoint.namespace, at: 0 };
      seen.set(key, known);
      ofEndpoint.set(endpoint, known);
    }
    known.at = now();
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
