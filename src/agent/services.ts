import type { ReflectorHandler } from "#k8s/reflector.ts";
import type { CiliumLocalRedirectPolicy, EndpointSlice, KubeObject, Node, Pod, Service } from "#k8s/types.ts";
import { label } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import type { Place } from "#loadbalancer/select.ts";
import type { LoadBalancerTables } from "#loadbalancer/tables.ts";
import { createLoadBalancer } from "#loadbalancer/writer.ts";
import type { ServiceView } from "#policy/resolve/repository.ts";
import type { Step } from "#reconciler/pipeline.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Database } from "#statedb/database.ts";
import type { Prefix } from "#types/prefix.ts";
import { parseProtocol } from "#types/proto.ts";
import type { ClusterNodes } from "./cluster-nodes.ts";

export interface Services {
  readonly tables: LoadBalancerTables;
  readonly serviceHandler: ReflectorHandler<Service>;
  readonly sliceHandler: ReflectorHandler<EndpointSlice>;
  readonly podHandler: ReflectorHandler<Pod>;
  readonly redirectHandler: ReflectorHandler<CiliumLocalRedirectPolicy>;
  /** After the one of `nodes`: which services a node has depends on its labels. */
  readonly nodeHandler: ReflectorHandler<Node>;
  /** Changes of services since the start, by upstream's words: add, update, delete. */
  readonly events: ReadonlyMap<string, number>;
  /** Recomputes what changed. Before the reconcilers of the tables. */
  readonly step: Step;
  /** The node's addresses that node ports are reached at. */
  setNodeAddresses(addresses: readonly string[]): void;
  /** Where this node is, as backends are chosen. */
  place(): Place;
  /** All services with a selector or backends, as toServices rules see them. */
  views(): ServiceView[];
  expect(source: string): () => void;
}

export interface ServicesDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly nodes: Pick<ClusterNodes, "self" | "setApiServers">;
  readonly onChange: () => void;
}

const ZONE_LABEL = "topology.kubernetes.io/zone";
const API_SERVER = "default/kubernetes";

/** Services, slices, pods and redirect policies of the API server → the load balancer's tables. */
export function createServices({ db, log, nodes, onChange }: ServicesDeps, config: ServicesConfig): Services {
  let addresses: readonly string[] = [];
  const nodeLabels = () => nodes.self().node?.metadata.labels ?? {};
  const balancer = createLoadBalancer(db, {
    nodeName: config.nodeName,
    nodeLabels,
    nodeAddresses: () => addresses,
    clusterIpOnly: config.clusterIpOnly,
    sourceRangesForAll: config.sourceRangesForAll,
    redirectable: config.redirectable,
  });
  const { tables } = balancer;
  let wake = () => {};
  let labels = "";
  const followLabels = () => {
    const now = JSON.stringify(nodeLabels());
    if (now === labels) return;
    labels = now;
    balancer.touchAll();
  };
  const problems = createProblemLog(log, tables);
  const events = createEventCount(tables);
  return {
    tables,
    serviceHandler: trimmed(balancer.services),
    sliceHandler: trimmed(balancer.slices),
    podHandler: trimmed(balancer.pods),
    redirectHandler: balancer.redirects,
    nodeHandler: { replace: followLabels, upsert: followLabels, remove: followLabels },
    setNodeAddresses(next) {
      if (next.join() === addresses.join()) return;
      addresses = next;
      balancer.touchAll();
    },
    place: () => ({ nodeName: config.nodeName, zone: config.topology ? nodeLabels()[ZONE_LABEL] : undefined }),
    events: events.counts,
    expect(source) {
      const listed = Object.values(tables).map((table) => table.expect(source));
      return () => {
        for (const done of listed) done();
        wake();
      };
    },
    step: {
      name: "services",
      onWork(fn) {
        wake = fn;
        balancer.onStale(fn);
      },
      run() {
        // Services without their endpoints would refuse everybody: a restart would be an outage.
        if (!tables.frontends.isInitialized) return;
        const touched = balancer.refresh();
        if (touched.has(API_SERVER)) nodes.setApiServers(balancer.slicesOf(API_SERVER) as EndpointSlice[]);
        problems.tell();
        events.take();
        if (touched.size > 0) onChange();
      },
    },
    views: () =>
      [...balancer.services.objects].map(([key, service]) => serviceView(service as Service, balancer.slicesOf(key) as EndpointSlice[])),
  };
}

export interface ServicesConfig {
  readonly nodeName: string;
  /** Whether hints of slices count. */
  readonly topology: boolean;
  /** kube-proxy has the rest. */
  readonly clusterIpOnly: boolean;
  /** loadBalancerSourceRanges are for all addresses of a service. */
  readonly sourceRangesForAll: boolean;
  /** Blocks of the addresses that local redirects may name; all when empty. */
  readonly redirectable: readonly Prefix[];
}

/** Without what only the API server needs: it is most of an object's size. */
function trimmed<T extends KubeObject>(source: ReflectorHandler<T>): ReflectorHandler<T> {
  const trim = (object: T): T => {
    const { name, namespace, labels, annotations, creationTimestamp, deletionTimestamp } = object.metadata;
    const { "kubectl.kubernetes.io/last-applied-configuration": _, ...kept } = annotations ?? {};
    const metadata = { name, namespace, labels, annotations: kept, creationTimestamp, deletionTimestamp };
    return { ...object, metadata };
  };
  return {
    replace: (objects) => source.replace(objects.map(trim)),
    upsert: (object) => source.upsert(trim(object)),
    remove: (object) => source.remove(object),
  };
}

/** Says once what of a service or redirect could not be used, and again when that changes. */
function createProblemLog(log: Logger, tables: LoadBalancerTables) {
  const services = tables.services.observe();
  const redirects = tables.redirects.observe();
  return {
    tell() {
      for (const { key, row, previous } of services.take())
        if (row && row.problems.length > 0 && row.problems.join() !== previous?.problems.join())
          log.warn("service is not fully usable", { service: key, problems: row.problems });
      for (const { key, row, previous } of redirects.take())
        if (row && row.problem !== "" && row.problem !== previous?.problem)
          log.warn("local redirect policy has no effect", { policy: key, problem: row.problem });
    },
  };
}

/** Counts what happens to services: a change of their backends is an update. */
function createEventCount({ frontends }: LoadBalancerTables) {
  const counts = new Map<string, number>([
    ["add", 0],
    ["update", 0],
    ["delete", 0],
  ]);
  const changes = frontends.observe();
  return {
    counts,
    take() {
      for (const { row, previous } of changes.take()) {
        const action = row === undefined ? "delete" : previous === undefined ? "add" : "update";
        counts.set(action, (counts.get(action) ?? 0) + 1);
      }
    },
  };
}

function serviceView(service: Service, slices: readonly EndpointSlice[]): ServiceView {
  return {
    namespace: service.metadata.namespace ?? "default",
    name: service.metadata.name,
    labels: labelSetOf(Object.entries(service.metadata.labels ?? {}).map(([key, value]) => label(key, value))),
    selector: service.spec?.selector,
    endpoints: slices.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses)),
    ports: slices.flatMap((slice) => (slice.ports ?? []).flatMap((target) => targetPorts(service, target))),
  };
}

type SlicePort = NonNullable<EndpointSlice["ports"]>[number];

/** Which ports of a service lead to this port of its endpoints. */
function targetPorts(service: Service, target: SlicePort): NonNullable<ServiceView["ports"]> {
  const named = (service.spec?.ports ?? []).filter(({ name }) => (name ?? "") === (target.name ?? ""));
  return named.map(({ port }) => ({ protocol: parseProtocol(target.protocol ?? "TCP") ?? 0, port, targetPort: target.port ?? port }));
}
