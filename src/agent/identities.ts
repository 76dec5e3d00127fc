import type { NamedPort } from "#endpoint/endpoint.ts";
import { createCidrAllocator } from "#identity/local.ts";
import { chooseIdentity } from "#identity/probe.ts";
import { reservedIdentities } from "#identity/reserved.ts";
import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_IDENTITIES } from "#k8s/resources.ts";
import type { CiliumIdentity } from "#k8s/types.ts";
import { type LabelSet, labelSetFromRecord, labelSetToRecord } from "#labels/label-set.ts";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { clusterIdentityRange, NumericIdentity } from "#types/identity.ts";

export class IdentityError extends CodedError {}

/** An identity this node knows, and so does its policy. */
export interface IdentityRow {
  readonly id: NumericIdentity;
  readonly labels: LabelSet;
  readonly scope: "reserved" | "cluster" | "local";
  /** Ports that pods of the identity name; what rules mean by a port's name. */
  readonly namedPorts: readonly NamedPort[];
}

export interface Identities {
  readonly table: Table<IdentityRow>;
  /** The number of a label set, cluster-wide the same: found, or created as a CiliumIdentity object. Rejects with `KubeError`. */
  allocate(labels: LabelSet): Promise<NumericIdentity>;
  /** A number of this node for labels of addresses outside; each acquire needs its release. */
  acquireLocal(labels: LabelSet): NumericIdentity;
  releaseLocal(labels: LabelSet): void;
  /** Keeps the number that labels had before a restart, as one acquire; release it when the rules have had their say. False when it is taken. */
  restoreLocal(id: NumericIdentity, labels: LabelSet): boolean;
  /** Replaces the labels of a reserved identity: this node may be an API server too. */
  relabelReserved(id: NumericIdentity, labels: LabelSet): void;
  /** Says which named ports an owner (a CiliumEndpoint) brings to an identity; none when it is gone. */
  setNamedPorts(owner: string, id: NumericIdentity | undefined, ports: readonly NamedPort[]): void;
  /** For the reflector of CiliumIdentity objects. */
  readonly handler: {
    replace(objects: readonly CiliumIdentity[]): void;
    upsert(object: CiliumIdentity): void;
    remove(object: CiliumIdentity): void;
  };
  expect(source: string): () => void;
}

export interface IdentitiesDeps {
  readonly db: Database;
  readonly cluster: Cluster;
  readonly log: Logger;
  /** Whether an endpoint of this node has the identity: such a one is kept even when its object is deleted. */
  readonly inUse: (id: NumericIdentity) => boolean;
}

/** The identities table and its only writer. */
export function createIdentities(deps: IdentitiesDeps): Identities {
  const { db, cluster, log } = deps;
  const table = db.createTable<IdentityRow>({
    name: "identities",
    key: (row) => row.id,
    indexes: { labels: (row) => row.labels.key },
    columns: { ID: (row) => row.id, LABELS: (row) => row.labels.texts.join(" ") },
  });
  const local = createCidrAllocator();
  const ports = createNamedPorts();
  const inFlight = new Map<string, Promise<NumericIdentity>>();

  const put = (id: NumericIdentity, labels: LabelSet, scope: IdentityRow["scope"]) => {
    const old = table.get(id);
    if (old?.labels.key !== labels.key) table.set({ id, labels, scope, namedPorts: ports.of(id) });
  };
  const putObject = (object: CiliumIdentity) => {
    const id = Number(object.metadata.name);
    if (!Number.isInteger(id) || id < clusterIdentityRange.first || id > clusterIdentityRange.last) {
      log.warn("CiliumIdentity ignored: its name is no number of the cluster's range", { name: object.metadata.name });
      return;
    }
    put(NumericIdentity(id), labelSetFromRecord(object["security-labels"]), "cluster");
  };
  const remove = (id: NumericIdentity) => {
    const row = table.get(id);
    if (row === undefined || row.scope !== "cluster") return;
    if (!deps.inUse(id)) {
      table.delete(id);
      return;
    }
    // Deleted while pods of ours have it: it goes back, and meanwhile nothing changes for them.
    log.warn("identity in use was deleted, creating it again", { identity: id });
    cluster.create(CILIUM_IDENTITIES, identityObject(id, row.labels)).catch((thrown: unknown) => {
      if (!isConflict(thrown)) log.error("identity not created again", { identity: id, error: errorMessage(thrown) });
    });
  };
  const create = async (labels: LabelSet): Promise<NumericIdentity> => {
    for (;;) {
      const choice = chooseIdentity(labels, (candidate) => table.get(candidate)?.labels);
      if (choice === undefined) throw new IdentityError("identities-exhausted", "all 65280 identities of the cluster are taken");
      const { id, exists } = choice;
      if (exists) return id;
      try {
        putObject(await cluster.create(CILIUM_IDENTITIES, identityObject(id, labels)));
        log.info("identity allocated", { identity: id, labels: labels.texts });
      } catch (thrown) {
        if (!isConflict(thrown)) throw thrown;
        // Somebody else was first. Whose labels has it?
        await cluster.get(CILIUM_IDENTITIES, { name: String(id) }).then(putObject, (missing: unknown) => {
          if (!isNotFound(missing)) throw missing;
        });
      }
    }
  };

  db.write(() => {
    for (const { id, labels } of reservedIdentities()) put(id, labels, "reserved");
  });
  return {
    table,
    expect: (source) => table.expect(source),
    allocate(labels) {
      const running = inFlight.get(labels.key);
      if (running) return running;
      const started = create(labels).finally(() => inFlight.delete(labels.key));
      inFlight.set(labels.key, started);
      return started;
    },
    acquireLocal(labels) {
      const { id } = local.acquire(labels);
      put(id, labels, "local");
      return id;
    },
    releaseLocal(labels) {
      const released = local.release(labels);
      if (released?.isGone) table.delete(released.id);
    },
    restoreLocal: (id, labels) => local.restore(id, labels),
    relabelReserved: (id, labels) => put(id, labels, "reserved"),
    setNamedPorts(owner, id, named) {
      for (const changed of ports.set(owner, id, named)) {
        const row = table.get(changed);
        if (row) table.set({ ...row, namedPorts: ports.of(changed) });
      }
    },
    handler: {
      replace(objects) {
        db.write(() => {
          const listed = new Set(objects.map((object) => Number(object.metadata.name)));
          for (const object of objects) putObject(object);
          for (const { id, scope } of [...table.list()]) if (scope === "cluster" && !listed.has(id)) remove(id);
        });
      },
      upsert: putObject,
      remove: (object) => remove(Number(object.metadata.name) as NumericIdentity),
    },
  };
}

function identityObject(id: NumericIdentity, labels: LabelSet): CiliumIdentity {
  const namespace = labels.get("k8s", "io.kubernetes.pod.namespace")?.value;
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumIdentity",
    metadata: { name: String(id), ...(namespace ? { labels: { "io.kubernetes.pod.namespace": namespace } } : {}) },
    "security-labels": labelSetToRecord(labels),
  };
}

/** Named ports by identity, from many owners; a name that two owners use for different ports stays twice. */
function createNamedPorts() {
  const owners = new Map<string, { readonly id: NumericIdentity; readonly ports: readonly NamedPort[] }>();
  const byIdentity = new Map<NumericIdentity, Map<string, readonly NamedPort[]>>();
  const text = (ports: readonly NamedPort[]) => JSON.stringify(ports);
  const drop = (owner: string, id: NumericIdentity) => {
    const bucket = byIdentity.get(id);
    bucket?.delete(owner);
    if (bucket?.size === 0) byIdentity.delete(id);
  };
  return {
    /** The identities for which something changed. */
    set(owner: string, id: NumericIdentity | undefined, ports: readonly NamedPort[]): NumericIdentity[] {
      const old = owners.get(owner);
      const none = id === undefined || ports.length === 0;
      if (old === undefined && none) return [];
      if (old && !none && old.id === id && text(old.ports) === text(ports)) return [];
      if (old) drop(owner, old.id);
      owners.delete(owner);
      if (!none) {
        owners.set(owner, { id, ports });
        const bucket = byIdentity.get(id) ?? new Map<string, readonly NamedPort[]>();
        byIdentity.set(id, bucket.set(owner, ports));
      }
      return [...new Set([old?.id, none ? undefined : id])].filter((changed) => changed !== undefined);
    },
    of(id: NumericIdentity): NamedPort[] {
      const all = [...(byIdentity.get(id)?.values() ?? [])].flat();
      const unique = new Map(all.map((port) => [`${port.name} ${port.protocol} ${port.port}`, port]));
      return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, port]) => port);
    },
  };
}
