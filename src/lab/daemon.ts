import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiServerDeps, startApiServer } from "#apiserver/apiserver.ts";
import type { Logger } from "#runtime/logger.ts";
import { MS, mount } from "#sys/mount.ts";
import { openNetns } from "#sys/netns.ts";
import { listener } from "#sys/socket.ts";
import type { LabConfig } from "./config.ts";
import { startControlSocket } from "./control.ts";
import type { ControllerDeps } from "./controllers/controller.ts";
import { startDaemonSets } from "./controllers/daemon-set.ts";
import { startDeployments } from "./controllers/deployment.ts";
import { startEndpoints } from "./controllers/endpoints.ts";
import { startEndpointsMirror } from "./controllers/endpoints-mirror.ts";
import { startGarbageCollection } from "./controllers/garbage.ts";
import { startJobs } from "./controllers/job.ts";
import { startLoadBalancerRoutes } from "./controllers/load-balancer.ts";
import { startNodes } from "./controllers/nodes.ts";
import { startReplicaSets } from "./controllers/replica-set.ts";
import { startScheduler } from "./controllers/scheduler.ts";
import { startStatefulSets } from "./controllers/stateful-set.ts";
import { LabError } from "./errors.ts";
import { startHubbleSocket } from "./hubble-socket.ts";
import { layersOf } from "./images/debian.ts";
import { startKubelet } from "./kubelet/kubelet.ts";
import { createPodStreams } from "./kubelet/streams.ts";
import { hasLeftovers, labCgroup, removeLeftovers } from "./leftovers.ts";
import { alreadyRunning, takeLock } from "./lock.ts";
import { applySystemManifests, createMirrorPods } from "./manifests.ts";
import { BRIDGE_NETNS, connectFabric, makeNetworkSandbox, WORLD_NETNS } from "./network/fabric.ts";
import { startWorld } from "./network/world.ts";
import { type Images, makeNodeHost, type NodeHost } from "./node-host.ts";
import { paths, RUNTIME_DIRECTORY } from "./paths.ts";
import { startPortMappings } from "./port-mappings.ts";
import { killCgroup } from "./process/cgroup.ts";

/** Told what is being done and when it is done. */
export type Report = (step: string) => void;

export interface LabDeps {
  readonly log: Logger;
  readonly report: Report;
  /** What authors of objects are told beyond what the API server refuses. */
  readonly review?: ApiServerDeps["review"];
}

export const API_PORT_IN_CLUSTER = 6443;

/**
 * Builds the lab in this process: network, nodes, API server, controllers, kubelets, then Cilium and DNS as pods. Resolves when the
 * API server serves and the pods are on their way. Disposing ends everything and removes every trace. Rejects with `LabError`.
 */
export async function startLab({ log, review, report }: LabDeps, config: LabConfig): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const netns = [BRIDGE_NETNS, WORLD_NETNS, ...config.nodes.map((node) => node.name)];
  stack.use(await claimMachine(netns));
  makeRuntimeDirectory();
  const images = { kind: config.images, layers: await layersOf(config.images) };
  report("network and nodes");
  const hosts = await makeMachines(config, images);
  report("API server");
  const api = stack.use(await startApi({ log: log.child("apiserver"), review }, config, hosts));
  const deps: ControllerDeps = { cluster: api.client, log };
  for (const controller of startControllers(deps, config)) stack.use(controller);
  const kubelets = hosts.map((host) => stack.use(startKubelet({ ...deps, host, identities: api, log: log.child(host.config.name) })));
  api.setPodStreams(createPodStreams(kubelets));
  writeFileSync(paths.kubeconfig, api.kubeconfig({ server: `https://127.0.0.1:${config.apiPort}` }), { mode: 0o600 });
  report(config.bare ? "DNS" : "Cilium and DNS");
  const [first] = config.nodes;
  if (first) createMirrorPods(api.client, first);
  applySystemManifests(api.client, config);
  stack.use(await startControlSocket({ cluster: api.client, kubelets, config }));
  stack.use(await startHubbleSocket(kubelets));
  stack.use(await startPortMappings(config.nodes));
  const owned = stack.move();
  return {
    async [Symbol.asyncDispose]() {
      // The pods need not end one by one: everything in the lab's cgroup is killed as a whole.
      killCgroup(labCgroup());
      await owned.disposeAsync();
    },
  };
}

// Makes the lab of this machine ours; what a dead one left is removed first. Disposing removes all that we made.
async function claimMachine(netns: readonly string[]): Promise<AsyncDisposable> {
  using guard = new DisposableStack();
  const lock = takeLock();
  if (!lock) throw alreadyRunning();
  guard.use(lock);
  const record = lock.write(netns);
  if (lock.previous || hasLeftovers()) await removeLeftovers(record.netns);
  const held = guard.move();
  return {
    async [Symbol.asyncDispose]() {
      await removeLeftovers(record.netns);
      lock.clear();
      held.dispose();
    },
  };
}

function makeRuntimeDirectory(): void {
  mkdirSync(RUNTIME_DIRECTORY, { recursive: true });
  mount({ type: "tmpfs", source: "cilia-lab", target: RUNTIME_DIRECTORY, data: "mode=755" });
  // What is mounted in here must not show in the sandboxes that exist already, nor theirs here.
  mount({ target: RUNTIME_DIRECTORY, flags: MS.PRIVATE });
  for (const directory of [paths.rootfs, paths.nodes, paths.pods]) mkdirSync(directory, { recursive: true });
  mount({ source: "/", target: paths.rootfs, flags: MS.BIND });
  rmSync(paths.logs, { recursive: true, force: true });
  mkdirSync("/run/netns", { recursive: true });
}

async function makeMachines(config: LabConfig, images: Images): Promise<NodeHost[]> {
  const cgroup = labCgroup();
  const [bridge, world, ...hosts] = await Promise.all([
    makeNetworkSandbox(BRIDGE_NETNS, join(cgroup, "fabric")),
    makeNetworkSandbox(WORLD_NETNS, join(cgroup, "world")),
    ...config.nodes.map((node) => makeNodeHost(node, config.nodes, cgroup, images)),
  ]);
  await connectFabric(
    config,
    bridge,
    world,
    hosts.map((host) => host.sandbox),
  );
  startWorld(world, join(cgroup, "world"), config.ipv6);
  return hosts;
}

async function startApi(deps: ApiServerDeps, config: LabConfig, hosts: readonly NodeHost[]) {
  const [first] = hosts;
  if (!first) throw new LabError("boot", "a lab needs a node");
  using netns = openNetns(first.netns);
  const address = first.config.ipv4;
  const fd = listener({ host: address, port: API_PORT_IN_CLUSTER, netns });
  return startApiServer(deps, {
    directory: paths.api,
    listeners: [
      { host: config.apiAddress, port: config.apiPort },
      { fd, address, port: API_PORT_IN_CLUSTER },
    ],
    serviceCidr: config.serviceCidr,
    ...(config.serviceCidrV6 ? { serviceCidrV6: config.serviceCidrV6 } : {}),
  });
}

function startControllers(deps: ControllerDeps, config: LabConfig): Disposable[] {
  return [
    startGarbageCollection(deps),
    startNodes(deps, config),
    startReplicaSets(deps),
    startDeployments(deps),
    startDaemonSets(deps),
    startStatefulSets(deps),
    startJobs(deps),
    startEndpoints(deps),
    startEndpointsMirror(deps),
    startLoadBalancerRoutes(deps, config.nodes),
    startScheduler(deps),
  ];
}
