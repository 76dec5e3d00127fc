import { type Endpoint, podKey, subjectKey } from "#endpoint/endpoint.ts";
import { type CiliumEndpointStatus, ciliumEndpointStatus } from "#endpoint/object.ts";
import type { SubjectPolicy } from "#endpoint/subject-policy.ts";
import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_ENDPOINTS } from "#k8s/resources.ts";
import type { CiliumEndpoint } from "#k8s/types.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Target } from "#reconciler/reconciler.ts";
import type { Database } from "#statedb/database.ts";
import type { Key, Table } from "#statedb/table.ts";

/** A CiliumEndpoint as it should be. */
export interface PublishedEndpoint {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly podUid: string;
  readonly status: CiliumEndpointStatus;
}

export interface PublisherDeps {
  readonly db: Database;
  readonly endpoints: Table<Endpoint>;
  readonly subjects: Table<SubjectPolicy>;
  readonly isAudited: (endpoint: Endpoint) => boolean;
  readonly nodeIp: () => string;
}

/** Endpoints and their realized policies → the table of CiliumEndpoints to publish; a step after the endpoints' reconciler. */
export function createPublisher(deps: PublisherDeps): {
  readonly table: Table<PublishedEndpoint>;
  readonly step: Step;
  readonly listed: () => void;
} {
  const { db, endpoints, subjects } = deps;
  const table = db.createTable<PublishedEndpoint>({
    name: "published-endpoints",
    key: (row) => row.key,
    columns: { ENDPOINT: (row) => row.key, ID: (row) => row.status.id, STATE: (row) => row.status.state },
  });
  const endpointChanges = endpoints.observe();
  const subjectChanges = subjects.observe();

  const publish = (endpoint: Endpoint) => {
    if (endpoint.identity === undefined || endpoint.state === "disconnecting") return;
    const subject = subjects.get(subjectKey(endpoint))?.policy;
    const status = ciliumEndpointStatus(endpoint, deps.nodeIp(), {
      ingress: subject?.ingress.enforced ?? true,
      egress: subject?.egress.enforced ?? true,
      audit: deps.isAudited(endpoint),
    });
    const { namespace, name, uid } = endpoint.pod;
    const key = podKey(endpoint.pod);
    const old = table.get(key);
    if (old?.podUid === uid && JSON.stringify(old.status) === JSON.stringify(status)) return;
    table.set({ key, namespace, name, podUid: uid, status });
  };
  const withdraw = ({ id, pod }: Endpoint) => {
    if (table.get(podKey(pod))?.status.id === id) table.delete(podKey(pod));
  };
  const publishChanged = () => {
    for (const { row, previous } of endpointChanges.take()) {
      if (row) publish(row);
      else if (previous) withdraw(previous);
    }
  };
  const publishSubjects = (changed: ReadonlySet<Key>) => {
    if (changed.size === 0) return;
    for (const row of endpoints.list()) if (changed.has(subjectKey(row))) publish(row);
  };
  return {
    table,
    /** To be called once every restored endpoint has been seen: before, nothing of this node's is deleted. */
    listed: table.expect("restored endpoints"),
    step: {
      name: "publish",
      onWork(fn) {
        endpointChanges.onReady(fn);
        subjectChanges.onReady(fn);
      },
      run() {
        db.write(() => {
          publishChanged();
          publishSubjects(new Set(subjectChanges.take().map(({ key }) => key)));
        });
      },
    },
  };
}

/** The CiliumEndpoint objects at the API server. Pruning deletes those of this node that no endpoint stands behind. */
export function createPublishTarget(cluster: Cluster, ownObjects: () => Iterable<CiliumEndpoint>): Target<PublishedEndpoint> {
  const remove = (ref: { readonly namespace: string; readonly name: string }) =>
    cluster.delete(CILIUM_ENDPOINTS, ref).catch((thrown: unknown) => {
      if (!isNotFound(thrown)) throw thrown;
    });
  return {
    async update(row) {
      const written = await writeObject(cluster, row);
      // Where the status is a subresource the write above does not take it.
      if (written.status?.state !== row.status.state)
        await cluster.update(CILIUM_ENDPOINTS, { ...written, status: statusOf(row) }, "status");
    },
    remove: ({ namespace, name }) => remove({ namespace, name }),
    async prune(rows) {
      const keep = new Set([...rows].map((row) => row.key));
      for (const { metadata } of ownObjects()) {
        const namespace = metadata.namespace ?? "default";
        if (!keep.has(`${namespace}/${metadata.name}`)) await remove({ namespace, name: metadata.name });
      }
    },
  };
}

async function writeObject(cluster: Cluster, row: PublishedEndpoint): Promise<CiliumEndpoint> {
  const { namespace, name, podUid } = row;
  const ownerReferences = [{ apiVersion: "v1", kind: "Pod", name, uid: podUid }];
  const status = statusOf(row);
  try {
    return await cluster.create(CILIUM_ENDPOINTS, {
      apiVersion: "cilium.io/v2",
      kind: "CiliumEndpoint",
      metadata: { name, namespace, ownerReferences },
      status,
    });
  } catch (thrown) {
    if (!isConflict(thrown)) throw thrown;
    // Ours of before, or an older pod's of that name: taken over with its new owner.
    const old = await cluster.get(CILIUM_ENDPOINTS, { namespace, name });
    return await cluster.update(CILIUM_ENDPOINTS, { ...old, metadata: { ...old.metadata, ownerReferences }, status });
  }
}

function statusOf({ status }: PublishedEndpoint): NonNullable<CiliumEndpoint["status"]> {
  return status as unknown as NonNullable<CiliumEndpoint["status"]>;
}
