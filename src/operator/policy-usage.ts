import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import type { Resource } from "#k8s/resources.ts";
import type { CiliumPolicyUsage, PolicyObject, PolicyUsage } from "#k8s/types.ts";
import { policyKey } from "#policy/rule.ts";

/** The policies of one kind. */
export interface PolicyStore {
  readonly resource: Resource<PolicyObject>;
  readonly objects: ReadonlyMap<string, PolicyObject>;
  /** The definition of the kind is another project's, and its status may have no place for usage. */
  readonly foreign?: boolean;
}

/** So many policies are written in one round; the others wait for the next, those longest without a word first. */
const MOST_WRITES = 100;

type Status = PolicyUsage & { readonly nodes: number };

/** Writes what all nodes together have told into `status.usage` of policies for which it says something new. Gives how many were written. */
export async function updatePolicyUsage(
  cluster: Cluster,
  stores: readonly PolicyStore[],
  usages: Iterable<CiliumPolicyUsage>,
  /** Kinds found to keep no usage; they are left alone from then on. */
  without = new Set<string>(),
): Promise<number> {
  const totals = totalsOf(usages);
  const changes = stores.flatMap(({ resource, objects, foreign }) =>
    [...objects.values()].flatMap((policy) => {
      // There the condition must be first.
      if (foreign && (without.has(resource.kind) || policy.status?.conditions === undefined)) return [];
      const { namespace = "", name } = policy.metadata;
      const wanted = totals.get(policyKey({ kind: resource.kind, namespace, name })) ?? { nodes: 0, endpoints: 0, packets: 0 };
      return isSame(policy.status?.usage, wanted) ? [] : [{ resource, policy, wanted }];
    }),
  );
  const due = changes.sort((a, b) => staleness(a.policy) - staleness(b.policy)).slice(0, MOST_WRITES);
  for (const { resource, policy, wanted } of due) {
    try {
      const patched = await cluster.patch(resource, policy.metadata, "merge", { status: { usage: wanted } }, { subresource: "status" });
      if (patched.status?.usage === undefined) without.add(resource.kind);
    } catch (thrown) {
      if (!isNotFound(thrown) && !isConflict(thrown)) throw thrown;
    }
  }
  return due.length;
}

/** Of all nodes by `policyKey`: counts added, the newest hit. */
export function totalsOf(usages: Iterable<CiliumPolicyUsage>): Map<string, Status> {
  const totals = new Map<string, Status>();
  for (const { policies = {} } of usages) {
    for (const [key, { endpoints = 0, packets = 0, audited = 0, lastHit = "" }] of Object.entries(policies)) {
      const old = totals.get(key) ?? { nodes: 0 };
      const newest = [old.lastHit ?? "", lastHit].sort().at(-1) ?? "";
      const allAudited = (old.audited ?? 0) + audited;
      totals.set(key, {
        nodes: old.nodes + (endpoints > 0 ? 1 : 0),
        endpoints: (old.endpoints ?? 0) + endpoints,
        packets: (old.packets ?? 0) + packets,
        ...(allAudited > 0 ? { audited: allAudited } : {}),
        ...(newest === "" ? {} : { lastHit: newest }),
      });
    }
  }
  return totals;
}

function isSame(a: Partial<Status> | undefined, b: Status): boolean {
  const keys = ["nodes", "endpoints", "packets", "audited", "lastHit"] as const;
  return a !== undefined && keys.every((key) => a[key] === b[key]);
}

/** The older its last hit as written, the longer it waits. */
function staleness({ status }: PolicyObject): number {
  return status?.usage === undefined ? 0 : Date.parse(status.usage.lastHit ?? "") || 1;
}
