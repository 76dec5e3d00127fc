import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_LOAD_BALANCER_IP_POOLS, SERVICES } from "#k8s/resources.ts";
import { objectKey } from "#k8s/store.ts";
import type { CiliumLoadBalancerIPPool, Condition, Service } from "#k8s/types.ts";
import { type Assignment, assignAddresses, isOurs, type PoolUse } from "./lb-ipam.ts";

const SATISFIED = "cilium.io/IPAMRequestSatisfied";

/** Makes every load balancer service's status, and every pool's, say what is assigned. Without any pool nothing is touched. */
export async function publishAddresses(
  cluster: Cluster,
  pools: ReadonlyMap<string, CiliumLoadBalancerIPPool>,
  services: ReadonlyMap<string, Service>,
  now: Date,
): Promise<void> {
  const assigned = assignAddresses(pools.values(), services.values());
  for (const [key, service] of services) {
    const assignment = isOurs(service) ? assigned.services.get(key) : undefined;
    const known = service.status?.conditions?.some(({ type }) => type === SATISFIED) ?? false;
    if (assignment ? pools.size > 0 || known : known) await publishService(cluster, service, assignment, now);
  }
  for (const pool of pools.values()) {
    const use = assigned.pools.get(objectKey(pool));
    if (use) await publishPool(cluster, pool, use, now);
  }
}

/** Without an assignment the service is none of ours any more: what we wrote is taken back. */
async function publishService(cluster: Cluster, service: Service, assignment: Assignment | undefined, now: Date): Promise<void> {
  const condition: Condition | undefined = assignment && {
    type: SATISFIED,
    status: assignment.satisfied ? "True" : "False",
    reason: assignment.reason,
    message: assignment.message,
  };
  const before = service.status?.conditions ?? [];
  const conditions = replaceConditions(before, condition ? [condition] : [], [SATISFIED], now);
  const ingress = (assignment?.ips ?? []).map((ip) => ({ ip, ipMode: "VIP" }));
  const had = (service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip).join();
  if (had === ingress.map(({ ip }) => ip).join() && conditions === undefined) return;
  const status = { loadBalancer: { ingress }, conditions: conditions ?? before };
  await unlessGone(() => cluster.patch(SERVICES, service.metadata, "merge", { status }, { subresource: "status" }));
}

async function publishPool(cluster: Cluster, pool: CiliumLoadBalancerIPPool, use: PoolUse, now: Date): Promise<void> {
  const count = (type: string, number: bigint): Condition => ({ type, status: "Unknown", reason: "noreason", message: String(number) });
  const wanted: Condition[] = [
    {
      type: "cilium.io/PoolConflict",
      status: use.conflict ? "True" : "False",
      reason: use.conflict?.reason ?? "resolved",
      message: use.conflict?.message ?? "",
    },
    count("cilium.io/IPsTotal", use.total),
    count("cilium.io/IPsAvailable", use.total - use.used),
    count("cilium.io/IPsUsed", use.used),
  ];
  const types = wanted.map(({ type }) => type);
  const conditions = replaceConditions(pool.status?.conditions ?? [], wanted, types, now);
  if (conditions === undefined) return;
  await unlessGone(() =>
    cluster.patch(CILIUM_LOAD_BALANCER_IP_POOLS, pool.metadata, "merge", { status: { conditions } }, { subresource: "status" }),
  );
}

/** The conditions with ours in them; undefined when that changes nothing. What says the same as before keeps its time. */
function replaceConditions(
  before: readonly Condition[],
  wanted: readonly Condition[],
  ours: readonly string[],
  now: Date,
): Condition[] | undefined {
  const found = (type: string) => before.find((one) => one.type === type);
  const same = (one: Condition) => {
    const old = found(one.type);
    return old?.status === one.status && old.reason === one.reason && old.message === one.message;
  };
  const stale = before.some(({ type }) => ours.includes(type) && !wanted.some((one) => one.type === type));
  if (!stale && wanted.every(same)) return undefined;
  const time = now.toISOString().replace(/\.\d+Z$/, "Z");
  const others = before.filter(({ type }) => !ours.includes(type));
  return [...others, ...wanted.map((one) => ({ ...one, lastTransitionTime: (same(one) && found(one.type)?.lastTransitionTime) || time }))];
}

/** Gone or changed meanwhile: the next event brings it back here. */
async function unlessGone(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (thrown) {
    if (!isNotFound(thrown) && !isConflict(thrown)) throw thrown;
  }
}
