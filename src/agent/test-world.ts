import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FailureInjector } from "#ebpf/fake.ts";
import { createPool } from "#ipam/pool.ts";
import { createFakeCluster, type FakeCluster } from "#k8s/fake.ts";
import * as kinds from "#k8s/resources.ts";
import { createFakeNetwork } from "#netlink/fake.ts";
import { readFlags } from "#runtime/flags.ts";
import { createHealth } from "#runtime/health.ts";
import { silentLogger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { Prefix } from "#types/prefix.ts";
import { agentFlags } from "./config.ts";
import { createCounters } from "./counters.ts";
import { createEndpointControl, type EndpointControl } from "./endpoint-control.ts";
import { createFakeDatapath, createFakeProxy } from "./fakes.ts";
import type { Kernel } from "./kernel.ts";
import { type Loops, startLoops } from "./loops.ts";
import { createMonitorHub } from "./monitor-hub.ts";
import { startReflectors } from "./reflectors.ts";
import { type AgentState, createState } from "./state.ts";

export const NODE = "n1";

export interface World extends AsyncDisposable {
  readonly cluster: FakeCluster;
  readonly state: AgentState;
  readonly loops: Loops;
  readonly control: EndpointControl;
  readonly kernel: Kernel;
  readonly proxy: ReturnType<typeof createFakeProxy>;
  readonly directory: string;
  add(name: string): Promise<string>;
}

/** The agent without a kernel: everything from the API server's objects to the bytes of the maps. */
export async function startWorld(
  options: { readonly fail?: FailureInjector; readonly netlinkFail?: (operation: string) => string | undefined } = {},
): Promise<World> {
  const scope = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "agent-"));
  scope.defer(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, "state"));
  const config = readFlags(agentFlags, [`--state-dir=${join(directory, "state")}`, "--cni-add-timeout=2s"], {});
  const cluster = createFakeCluster();
  await cluster.create(kinds.NODES, {
    metadata: { name: NODE },
    spec: { podCIDR: "10.0.0.0/24" },
    status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
  });
  await cluster.create(kinds.NAMESPACES, { metadata: { name: "default", labels: { "kubernetes.io/metadata.name": "default" } } });
  const state = createState({ cluster, log: silentLogger }, config, NODE);
  const restored = state.endpoints.expect("restored");
  const reflectors = scope.use(
    startReflectors(
      { cluster, log: silentLogger, health: createHealth(), state, counters: createCounters() },
      { nodeName: NODE, isOwnNode: (ip) => ip === "192.0.2.1" },
    ),
  );
  const network = createFakeNetwork(options.netlinkFail ? { fail: options.netlinkFail } : {});
  const datapath = createFakeDatapath(join(directory, "links"), options.fail);
  const kernel = {
    datapath,
    netlink: network.open(),
    openNetlink: ({ netns }: { netns: { path: string } }) => network.open({ netns }),
    pools: [createPool([Prefix("10.0.0.0/24")])],
    routers: [IpAddress("10.0.0.1")],
    mtu: 1500,
  } as unknown as Kernel;
  const self = {
    name: NODE,
    ipv4: IpAddress("192.0.2.1"),
    ipv6: undefined,
    device: { name: "eth0", index: 2, mtu: 1500 },
    podCidrs: [Prefix("10.0.0.0/24")],
  };
  const [proxy, hub] = [createFakeProxy(true), createMonitorHub()];
  const loops = scope.use(
    startLoops(
      {
        log: silentLogger,
        state,
        datapath,
        netlink: kernel.netlink,
        cluster,
        proxy,
        self,
        hub,
        counters: createCounters(),
        isRestored: () => true,
      },
      config,
    ),
  );
  const control = createEndpointControl(
    { log: silentLogger, state, kernel, loops, hub, counters: createCounters(), unavailable: () => undefined, purge: async () => {} },
    config,
  );
  await reflectors.synced;
  restored();
  state.controller.start();
  await loops.pipeline.settled();
  loops.settledOnce();
  scope.use(control.follow());
  let pods = 0;
  return {
    cluster,
    state,
    loops,
    control,
    kernel,
    proxy,
    directory,
    async add(name) {
      await cluster
        .create(kinds.PODS, { metadata: { name, namespace: "default", labels: { app: name } }, spec: { nodeName: NODE } })
        .catch(() => undefined);
      pods += 1;
      const netns = join(directory, `netns-${pods}`);
      writeFileSync(netns, "");
      const request = {
        command: "ADD",
        containerId: `c${pods}-${name}`,
        netns,
        ifname: "eth0",
        pod: { namespace: "default", name, uid: "" },
      } as const;
      const attachment = await control.add({ ...request, config: { cniVersion: "1.0.0", validAttachments: [] } });
      return attachment.addresses[0]?.address ?? "";
    },
    [Symbol.asyncDispose]: () => scope.disposeAsync(),
  };
}

export const policy = (name: string, app: string, from: string) => ({
  metadata: { name, namespace: "default" },
  spec: { endpointSelector: { matchLabels: { app } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: from } }] }] },
});

export const identityOf = ({ state }: World, name: string) => state.endpoints.by("pod", `default/${name}`)[0]?.identity ?? 0;

/** Identities that endpoint `name` lets in, as the maps have it; undefined when ingress is open. */
export function admitted(world: World, name: string): number[] | undefined {
  const { policy: outer, policyConfig } = world.kernel.datapath.maps;
  const id = world.state.endpoints.by("pod", `default/${name}`)[0]?.id ?? 0;
  if (policyConfig.get(id)?.ingressEnforced === 0) return undefined;
  return [...(outer.get(id)?.entries() ?? [])]
    .filter(([{ egress }]) => egress === 0)
    .map(([{ secLabel }]) => secLabel)
    .sort((a, b) => a - b);
}

export async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition());
}
