import { CNI_ERROR, CniError } from "#cni/request.ts";
import { podKey } from "#endpoint/endpoint.ts";
import { labelsOfPod, type PodView, podView } from "#endpoint/labels.ts";
import { type Cluster, isNotFound } from "#k8s/client.ts";
import type { ReflectorHandler } from "#k8s/reflector.ts";
import { NAMESPACES, PODS } from "#k8s/resources.ts";
import type { KubeObject, Namespace, Pod } from "#k8s/types.ts";
import { parseLabelFilter } from "#labels/identity-labels.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { scopeAudit } from "#policy/rule.ts";
import { workloadOf } from "#policy/world/workload.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Database } from "#statedb/database.ts";
import type { Table, WritableTable } from "#statedb/table.ts";

/** A pod of this node, and what its workload is called. */
export interface PodRow extends PodView {
  readonly workloads: readonly { readonly name: string; readonly kind: string }[];
  /** It is in audit mode by its own annotation. */
  readonly audit: boolean;
}

export interface NamespaceRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** All its pods are in audit mode. */
  readonly audit: boolean;
}

export interface PodsOfNode {
  readonly pods: Table<PodRow>;
  readonly namespaces: Table<NamespaceRow>;
  readonly podHandler: ReflectorHandler<Pod>;
  readonly namespaceHandler: ReflectorHandler<Namespace>;
  /** The pod and its labels; asks the API server when we have not heard of it yet. Rejects with `CniError` when there is none. */
  describe(pod: { readonly namespace: string; readonly name: string; readonly uid: string }): Promise<{ view: PodRow; labels: LabelSet }>;
  /** The labels of a pod we know, undefined otherwise. */
  labelsOf(view: PodRow): LabelSet | undefined;
}

/** Pods of this node and the cluster's namespaces, as far as identities need them. */
export function createPodsOfNode(
  deps: { readonly db: Database; readonly cluster: Cluster; readonly log: Logger },
  config: { readonly cluster: string; readonly labels: string },
): PodsOfNode {
  const { db, cluster, log } = deps;
  const pods = db.createTable<PodRow>({ name: "pods", key: podKey, columns: { POD: podKey, LABELS: (row) => row.labels } });
  const namespaces = db.createTable<NamespaceRow>({
    name: "namespaces",
    key: (row) => row.name,
    columns: { NAME: (row) => row.name, AUDIT: (row) => row.audit, LABELS: (row) => row.labels },
  });
  const settings = { cluster: config.cluster, filter: config.labels === "" ? undefined : parseLabelFilter(config.labels) };

  const findPod = async (wanted: { namespace: string; name: string; uid: string }): Promise<PodRow> => {
    const known = pods.get(podKey(wanted));
    if (known && (wanted.uid === "" || known.uid === wanted.uid)) return known;
    const { namespace, name } = wanted;
    const pod = await cluster.get(PODS, { namespace, name }).catch((thrown: unknown) => {
      if (isNotFound(thrown)) throw new CniError(CNI_ERROR.tryAgain, `there is no pod ${podKey(wanted)}`, { cause: thrown });
      throw thrown;
    });
    // A pod of the same name that came after the one we are asked for must not lend it its labels.
    if (wanted.uid !== "" && pod.metadata.uid !== wanted.uid)
      throw new CniError(CNI_ERROR.tryAgain, `pod ${podKey(wanted)} is another one by now`);
    return podRow(pod);
  };
  const findNamespace = async (name: string): Promise<NamespaceRow> =>
    namespaces.get(name) ?? namespaceRow(await cluster.get(NAMESPACES, { name }));
  const warnOf = <Object_ extends KubeObject>(kind: string, { metadata }: Object_) => {
    const { problem } = scopeAudit(metadata.annotations);
    if (problem !== undefined)
      log.warn("an audit mode is a word that is none", { [kind]: podKey({ namespace: "", ...metadata }), problem });
  };
  const heardOfPod = (pod: Pod): PodRow => {
    warnOf("pod", pod);
    return podRow(pod);
  };
  const heardOfNamespace = (namespace: Namespace): NamespaceRow => {
    warnOf("namespace", namespace);
    return namespaceRow(namespace);
  };
  return {
    pods,
    namespaces,
    podHandler: tableHandler(db, pods, heardOfPod, podKey),
    namespaceHandler: tableHandler(db, namespaces, heardOfNamespace, (row) => row.name),
    async describe(pod) {
      const [view, namespace] = await Promise.all([findPod(pod), findNamespace(pod.namespace)]);
      return { view, labels: labelsOfPod(view, namespace.labels, settings) };
    },
    labelsOf(view) {
      const namespace = namespaces.get(view.namespace);
      return namespace && labelsOfPod(view, namespace.labels, settings);
    },
  };
}

/** A reflector's handler that keeps one row an object. */
export function tableHandler<Object_ extends KubeObject, Row extends object>(
  db: Database,
  table: WritableTable<Row>,
  toRow: (object: Object_) => Row,
  keyOf: (row: Row) => string,
): ReflectorHandler<Object_> {
  const put = (row: Row) => {
    const old = table.get(keyOf(row));
    // Most updates are of a status that we do not keep.
    if (JSON.stringify(old) !== JSON.stringify(row)) table.set(row);
  };
  return {
    replace(objects) {
      db.write(() => {
        const rows = objects.map(toRow);
        const listed = new Set(rows.map(keyOf));
        for (const row of rows) put(row);
        for (const row of [...table.list()]) if (!listed.has(keyOf(row))) table.delete(keyOf(row));
      });
    },
    upsert: (object) => put(toRow(object)),
    remove: (object) => void table.delete(keyOf(toRow(object))),
  };
}

function namespaceRow({ metadata }: Namespace): NamespaceRow {
  return { name: metadata.name, labels: metadata.labels ?? {}, audit: scopeAudit(metadata.annotations).audit };
}

function podRow(pod: Pod): PodRow {
  const owner = (pod.metadata.ownerReferences ?? []).find(({ controller }) => controller === true) ?? pod.metadata.ownerReferences?.[0];
  const workload = owner ? workloadOf(owner, pod.metadata.labels ?? {}) : { kind: "Pod", name: pod.metadata.name };
  return { ...podView(pod), workloads: [workload], audit: scopeAudit(pod.metadata.annotations).audit };
}
