import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { type ReflectorOptions, startReflector } from "#k8s/reflector.ts";
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_ENDPOINTS,
  CILIUM_IDENTITIES,
  CILIUM_LOAD_BALANCER_IP_POOLS,
  CILIUM_NETWORK_POLICIES,
  CILIUM_NODES,
  CILIUM_POLICY_USAGES,
  CLUSTER_NETWORK_POLICIES,
  NODES,
  PODS,
  type Resource,
  SERVICES,
} from "#k8s/resources.ts";
import { createStore, type ObjectStore, objectKey } from "#k8s/store.ts";
import type { CiliumLoadBalancerIPPool, CiliumNode, CiliumPolicyUsage, KubeObject, Node, Pod, PolicyObject, Service } from "#k8s/types.ts";
import type { FlagValues } from "#runtime/flags.ts";
import { startInterval } from "#runtime/job.ts";
import type { Logger } from "#runtime/logger.ts";
import { aborted } from "#runtime/scope.ts";
import { Prefix, parsePrefix } from "#types/prefix.ts";
import type { operatorFlags } from "./config.ts";
import { applyDefinitions, readDefinitions } from "./crds.ts";
import { collectEndpoints } from "./endpoint-gc.ts";
import { ensureHubbleCertificates } from "./hubble-certs.ts";
import { createIdentityGc } from "./identity-gc.ts";
import { publishAddresses } from "./lb-ipam-status.ts";
import { nodesWithReadyAgent, removeTaint } from "./node-taint.ts";
import { type CidrPool, createPodCidrs, type PodCidrs } from "./pod-cidrs.ts";
import { updateValidCondition } from "./policy-status.ts";
import { type PolicyStore, updatePolicyUsage } from "./policy-usage.ts";
import { startQueue } from "./queue.ts";

export type OperatorConfig = FlagValues<typeof operatorFlags>;

export interface OperatorDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
}

const CERTIFICATE_CHECK_MS = 3_600_000;
const CRD_DIRECTORY = new URL("../../api/crds/", import.meta.url);

/** Creates the CustomResourceDefinitions. Any replica may do it; agents wait for them. */
export async function createDefinitions(deps: OperatorDeps, signal: AbortSignal): Promise<void> {
  await applyDefinitions(deps, await readDefinitions(CRD_DIRECTORY), signal);
}

/** Everything the leading operator does, until the signal aborts. */
export async function runControllers(deps: OperatorDeps, config: OperatorConfig, signal: AbortSignal): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const { cluster, log } = deps;
  const reflect = <T extends KubeObject>(
    resource: Resource<T>,
    onChange?: (object: T, gone: boolean) => void,
    options: ReflectorOptions = {},
  ) => {
    const store = createStore<T>(onChange);
    const reflector = scope.use(startReflector(deps, resource, options, store));
    return { ...store, synced: reflector.synced };
  };

  const queue = (name: string, work: (key: string) => Promise<void>) => scope.use(startQueue({ log, name }, work));
  const podCidrs = createPodCidrs(poolsOf(config));
  const cidrQueue = queue("pod-cidrs", (name) => assignPodCidr(deps, config, podCidrs, name, nodes, ciliumNodes));
  const taintQueue = queue("node-taint", async (name) => {
    const node = nodes.objects.get(name);
    if (node && nodesWithReadyAgent(pods.objects.values()).has(name)) await removeTaint(cluster, node);
  });

  const onNode = (object: KubeObject, gone: boolean) => {
    if (gone) podCidrs.release(object.metadata.name);
    else cidrQueue.add(object.metadata.name);
  };
  const nodes = reflect<Node>(NODES, (node, gone) => {
    onNode(node, gone && config.ipam === "kubernetes");
    if (!gone) taintQueue.add(node.metadata.name);
  });
  const ciliumNodes = reflect<CiliumNode>(CILIUM_NODES, (node, gone) => onNode(node, gone && config.ipam !== "kubernetes"));
  const pods = reflect<Pod>(PODS, (pod) => {
    if (pod.metadata.labels?.["k8s-app"] === "cilium" && pod.spec?.nodeName) taintQueue.add(pod.spec.nodeName);
  });
  const readPolicies = (resource: Resource<PolicyObject>, options?: ReflectorOptions): PolicyStore => {
    const status = queue(`${resource.plural}-status`, async (key) => {
      const policy = policies.objects.get(key);
      if (policy) await updateValidCondition(cluster, resource, policy, new Date());
    });
    const onPolicy = (policy: PolicyObject, gone: boolean) => {
      if (!gone) status.add(objectKey(policy));
    };
    const policies = reflect<PolicyObject>(resource, onPolicy, options);
    return { resource, objects: policies.objects };
  };
  const policyStores: PolicyStore[] = [CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES].map((resource) =>
    readPolicies(resource),
  );
  // Another project's kind: its definition may be another one's, of another version, whose status has no place for usage.
  policyStores.push({ ...readPolicies(CLUSTER_NETWORK_POLICIES, { optional: true }), foreign: true });
  const withoutUsage = new Set<string>();
  if (config["policy-usage-interval"] > 0) {
    const usages = reflect<CiliumPolicyUsage>(CILIUM_POLICY_USAGES);
    const run = async () => {
      await updatePolicyUsage(cluster, policyStores, usages.objects.values(), withoutUsage);
    };
    scope.use(startInterval(deps, { name: "policy-usage", intervalMs: config["policy-usage-interval"], run }));
  }
  const lbIpam = queue("lb-ipam", async () => {
    await Promise.all([lbPools.synced, services.synced]);
    await publishAddresses(cluster, lbPools.objects, services.objects, new Date());
  });
  const lbPools = reflect<CiliumLoadBalancerIPPool>(CILIUM_LOAD_BALANCER_IP_POOLS, () => lbIpam.add("all"));
  const services = reflect<Service>(SERVICES, () => lbIpam.add("all"));
  const identities = reflect(CILIUM_IDENTITIES);
  const endpoints = reflect(CILIUM_ENDPOINTS);
  await Promise.all([nodes, pods, identities, endpoints].map(({ synced }) => synced));

  const identityGc = createIdentityGc(deps, { timeoutMs: config["identity-heartbeat-timeout"] });
  scope.use(
    startInterval(deps, {
      name: "identity-gc",
      intervalMs: config["identity-gc-interval"],
      run: async () => void (await identityGc.collect(identities.objects.values(), endpoints.objects.values())),
    }),
  );
  if (config["enable-hubble-tls-auto"]) {
    const certificates = {
      namespace: config["k8s-namespace"],
      clusterName: config["cluster-name"],
      validDays: config["hubble-tls-cert-validity"],
    };
    const run = () => ensureHubbleCertificates(deps, certificates);
    scope.use(startInterval(deps, { name: "hubble-certificates", intervalMs: CERTIFICATE_CHECK_MS, run }));
  }
  let orphans: ReadonlySet<string> = new Set();
  scope.use(
    startInterval(deps, {
      name: "endpoint-gc",
      intervalMs: config["cilium-endpoint-gc-interval"],
      run: async () => {
        orphans = await collectEndpoints(cluster, endpoints.objects.values(), pods.objects, orphans);
      },
    }),
  );
  await aborted(signal);
}

function poolsOf(config: OperatorConfig): CidrPool[] {
  return [
    ...config["cluster-pool-ipv4-cidr"].slice(0, 1).map((cidr) => ({ cidr: Prefix(cidr), bits: config["cluster-pool-ipv4-mask-size"] })),
    ...config["cluster-pool-ipv6-cidr"].slice(0, 1).map((cidr) => ({ cidr: Prefix(cidr), bits: config["cluster-pool-ipv6-mask-size"] })),
  ];
}

/** Gives a node its PodCIDR where it has none, and remembers the one that it has. */
async function assignPodCidr(
  { cluster, log }: OperatorDeps,
  config: OperatorConfig,
  podCidrs: PodCidrs,
  name: string,
  nodes: Pick<ObjectStore<Node>, "objects">,
  ciliumNodes: Pick<ObjectStore<CiliumNode>, "objects">,
): Promise<void> {
  const kubernetes = config.ipam === "kubernetes";
  const node = nodes.objects.get(name);
  const ciliumNode = ciliumNodes.objects.get(name);
  if (kubernetes ? !node : !ciliumNode) return;
  const have = (kubernetes ? node?.spec?.podCIDRs : ciliumNode?.spec?.ipam?.podCIDRs) ?? [];
  if (have.length > 0) {
    const blocks = have.flatMap((text) => parsePrefix(text) ?? []);
    if (!podCidrs.occupy(name, blocks)) log.error("two nodes have the same PodCIDR", { node: name, podCidrs: have });
    return;
  }
  const blocks = podCidrs.allocate(name);
  if (!blocks) throw new Error(`no PodCIDR left for node ${name}: enlarge --cluster-pool-ipv4-cidr or --cluster-pool-ipv6-cidr`);
  try {
    if (kubernetes) await cluster.patch(NODES, { name }, "merge", { spec: { podCIDR: blocks[0], podCIDRs: blocks } });
    else await cluster.patch(CILIUM_NODES, { name }, "merge", { spec: { ipam: { podCIDRs: blocks } } });
    log.info("gave a node its PodCIDR", { node: name, podCidrs: blocks });
  } catch (thrown) {
    if (!isConflict(thrown) && !isNotFound(thrown)) throw thrown;
    podCidrs.release(name);
  }
}
