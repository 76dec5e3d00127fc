import type { Cluster } from "#k8s/client.ts";
import { policyObjects, subjectObjects } from "#k8s/policy-objects.ts";
import { CILIUM_POLICY_USAGES } from "#k8s/resources.ts";
import type { CiliumPolicyUsage, PolicyUsage } from "#k8s/types.ts";
import { clusterSource, type SourcedObject } from "#policy/world/objects.ts";
import { createWorld, type World } from "#policy/world/world.ts";

/** The cluster at one moment, as far as policies and who they are about go. */
export interface Snapshot {
  readonly policies: readonly SourcedObject[];
  readonly subjects: readonly SourcedObject[];
  readonly world: World;
  /** What all nodes together tell of each policy, by `policyKey`. */
  readonly usage: ReadonlyMap<string, PolicyUsage>;
}

/** Somebody who types asks several times a second: the cluster is asked that often at most. */
const KEPT_MS = 5000;

/** Reads the cluster when asked, and keeps what it read for a few seconds. Rejects with `KubeError`. */
export function createClusterView(cluster: Cluster, namespace: string, now: () => number = Date.now): () => Promise<Snapshot> {
  let kept: { readonly at: number; readonly snapshot: Promise<Snapshot> } | undefined;
  return () => {
    if (kept !== undefined && now() - kept.at < KEPT_MS) return kept.snapshot;
    const snapshot = read(cluster, namespace);
    const current = { at: now(), snapshot };
    kept = current;
    snapshot.catch(() => {
      if (kept === current) kept = undefined;
    });
    return snapshot;
  };
}

async function read(cluster: Cluster, namespace: string): Promise<Snapshot> {
  const [policies, subjects, usages] = await Promise.all([
    policyObjects(cluster),
    subjectObjects(cluster, namespace),
    cluster.list(CILIUM_POLICY_USAGES),
  ]);
  const sourced = (object: unknown): SourcedObject => ({ object, source: clusterSource });
  const [own, others] = [policies.map(sourced), subjects.map(sourced)];
  return { policies: own, subjects: others, world: createWorld([...own, ...others]), usage: totals(usages.items) };
}

/** Counts of all nodes added, and the newest hit. */
export function totals(usages: readonly CiliumPolicyUsage[]): Map<string, PolicyUsage> {
  const found = new Map<string, PolicyUsage>();
  for (const { policies = {} } of usages) {
    for (const [key, usage] of Object.entries(policies)) found.set(key, added(found.get(key) ?? {}, usage));
  }
  return found;
}

function added(a: PolicyUsage, b: PolicyUsage): PolicyUsage {
  const rules: Record<string, number> = { ...a.rules };
  for (const [rule, packets] of Object.entries(b.rules ?? {})) rules[rule] = (rules[rule] ?? 0) + packets;
  return {
    packets: (a.packets ?? 0) + (b.packets ?? 0),
    audited: (a.audited ?? 0) + (b.audited ?? 0),
    lastHit: [a.lastHit ?? "", b.lastHit ?? ""].sort().at(-1) ?? "",
    rules,
  };
}
