import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { FailureInjector } from "#ebpf/fake.ts";
import { createPool } from "#ipam/pool.ts";
import { KubeError } from "#k8s/client.ts";
import { createFakeCluster, type FakeCluster } from "#k8s/fake.ts";
import * as kinds from "#k8s/resources.ts";
import { createFakeNetwork } from "#netlink/fake.ts";
import { readFlags } from "#runtime/flags.ts";
import { silentLogger } from "#runtime/logger.ts";
import { KernelError } from "#sys/kernel-error.ts";
import { addressFromBytes, IpAddress } from "#types/addr.ts";
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

const NODE = "n1";

interface World extends AsyncDisposable {
  readonly cluster: FakeCluster;
  readonly state: AgentState;
  readonly loops: Loops;
  readonly control: EndpointControl;
  readonly kernel: Kernel;
  readonly directory: string;
  add(name: string): Promise<string>;
}

/** The agent without a kernel: everything from the API server's objects to the bytes of the maps. */
async function startWorld(
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
    startReflectors({ cluster, log: silentLogger, state }, { nodeName: NODE, isOwnNode: (ip) => ip === "192.0.2.1" }),
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

const policy = (name: string, app: string, from: string) => ({
  metadata: { name, namespace: "default" },
  spec: { endpointSelector: { matchLabels: { app } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: from } }] }] },
});

const identityOf = ({ state }: World, name: string) => state.endpoints.by("pod", `default/${name}`)[0]?.identity ?? 0;

/** Identities that endpoint `name` lets in, as the maps have it; undefined when ingress is open. */
function admitted(world: World, name: string): number[] | undefined {
  const { policy: outer, policyConfig } = world.kernel.datapath.maps;
  const id = world.state.endpoints.by("pod", `default/${name}`)[0]?.id ?? 0;
  if (policyConfig.get(id)?.ingressEnforced === 0) return undefined;
  return [...(outer.get(id)?.entries() ?? [])]
    .filter(([{ egress }]) => egress === 0)
    .map(([{ secLabel }]) => secLabel)
    .sort((a, b) => a - b);
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition());
}

describe("the agent, from objects to maps", () => {
  it("brings a policy and the identities it selects into the map of its subject", async () => {
    await using world = await startWorld();
    await world.add("web");
    await world.add("client");
    assert.equal(admitted(world, "web"), undefined);
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    await until(() => admitted(world, "web")?.includes(identityOf(world, "client")) ?? false);
    assert.equal(admitted(world, "web")?.includes(identityOf(world, "web")), false);
    assert.equal(admitted(world, "client"), undefined);
    await world.cluster.delete(kinds.CILIUM_NETWORK_POLICIES, { namespace: "default", name: "p" });
    await until(() => admitted(world, "web") === undefined);
  });
  it("puts a ClusterNetworkPolicy of the tier Admin over a policy that allows, and back", async () => {
    await using world = await startWorld();
    await world.add("web");
    await world.add("client");
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    const verdictOf = () => {
      const id = world.state.endpoints.by("pod", "default/web")[0]?.id ?? 0;
      const entries = [...(world.kernel.datapath.maps.policy.get(id)?.entries() ?? [])];
      return entries.find(([{ egress, secLabel }]) => egress === 0 && secLabel === identityOf(world, "client"))?.[1].flags;
    };
    await until(() => verdictOf() === 0);
    const pods = (app: string) => ({ pods: { podSelector: { matchLabels: { app } } } });
    await world.cluster.create(kinds.CLUSTER_NETWORK_POLICIES, {
      metadata: { name: "gate" },
      spec: { tier: "Admin", priority: 1, subject: pods("web"), ingress: [{ action: "Deny", from: [pods("client")] }] },
    });
    await until(() => verdictOf() === 1);
    await world.cluster.delete(kinds.CLUSTER_NETWORK_POLICIES, { name: "gate" });
    await until(() => verdictOf() === 0);
  });
  it("reaches the same maps when one in ten writes of the kernel fails", async () => {
    let seed = 7;
    const fail: FailureInjector = (operation) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      if (seed % 100 < 10 && (operation === "set" || operation === "delete")) throw new KernelError("bpf", 12, "injected");
    };
    await using world = await startWorld({ fail });
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    for (const name of ["web", "client", "other"]) await world.add(name).catch(() => world.add(name));
    await until(() => admitted(world, "web")?.includes(identityOf(world, "client")) ?? false);
    assert.equal(admitted(world, "web")?.includes(identityOf(world, "other")), false);
  });
  it("knows pods of other nodes by their CiliumEndpoints, and a reused address by its new owner", async () => {
    await using world = await startWorld();
    const remote = (name: string, identity: number) => ({
      metadata: { name, namespace: "default" },
      status: { id: 1, identity: { id: identity }, networking: { addressing: [{ ipv4: "10.0.1.7" }], node: "192.0.2.2" } },
    });
    const identity = () => world.kernel.datapath.maps.ipcache.get({ bytes: Buffer.from("00000000000000000000ffff0a000107", "hex") })?.secId;
    await world.cluster.create(kinds.CILIUM_ENDPOINTS, remote("old", 700));
    await until(() => identity() === 700);
    await world.cluster.create(kinds.CILIUM_ENDPOINTS, remote("new", 800));
    await until(() => identity() === 800);
    await world.cluster.delete(kinds.CILIUM_ENDPOINTS, { namespace: "default", name: "old" });
    await world.loops.pipeline.settled();
    assert.equal(identity(), 800);
  });
  it("takes the identity that another agent created first", async () => {
    await using world = await startWorld();
    world.cluster.failNext("create", new KubeError(409, "AlreadyExists", "somebody was first"));
    await world.add("web");
    await world.add("web");
    const identities = (await world.cluster.list(kinds.CILIUM_IDENTITIES)).items;
    assert.equal(identities.length, 1);
    assert.equal(identities[0]?.metadata.name, String(identityOf(world, "web")));
  });
  it("moves an endpoint to another identity when its pod's labels change", async () => {
    await using world = await startWorld();
    await world.add("web");
    const before = identityOf(world, "web");
    await world.cluster.patch(kinds.PODS, { namespace: "default", name: "web" }, "merge", { metadata: { labels: { tier: "front" } } });
    await until(() => identityOf(world, "web") !== before);
    const row = world.state.endpoints.by("pod", "default/web")[0];
    assert.ok(row);
    assert.ok(row.labels.texts.includes("k8s:tier=front"));
    await until(() => world.kernel.datapath.maps.lxcIfindex.get(row.interface.index)?.secId === row.identity);
  });
  it("publishes its endpoints and deletes what they leave behind", async () => {
    await using world = await startWorld();
    const ip = await world.add("web");
    const listed = async () => (await world.cluster.list(kinds.CILIUM_ENDPOINTS)).items;
    for (let tries = 0; tries < 100 && (await listed()).length === 0; tries++) await new Promise((resolve) => setTimeout(resolve, 5));
    const [object] = await listed();
    assert.equal(object?.status?.networking?.addressing?.[0]?.ipv4, ip);
    assert.equal(object?.metadata.ownerReferences?.[0]?.kind, "Pod");
    const row = world.state.endpoints.by("pod", "default/web")[0];
    await world.control.remove({ containerId: row?.containerId ?? "", ifname: "eth0" });
    for (let tries = 0; tries < 100 && (await listed()).length > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(await listed(), []);
  });
});

describe("audit mode", () => {
  const AUDIT_ID = 0x10000;
  const annotate = (value: string | null) => ({ metadata: { annotations: { "policy.cilium.io/audit-mode": value } } });
  const configOf = (world: World, name: string, beside = 0) => {
    const id = world.state.endpoints.by("pod", `default/${name}`)[0]?.id ?? 0;
    return world.kernel.datapath.maps.policyConfig.get(id | beside);
  };

  it("of a policy: it denies nothing, is asked beside the others, and denies once the annotation is gone", async () => {
    await using world = await startWorld();
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("kept", "db", "client"));
    await world.add("web");
    await world.add("db");
    const { metadata, spec } = policy("p", "web", "client");
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, {
      metadata: { ...metadata, ...annotate("enabled").metadata },
      spec,
    } as never);
    await until(() => configOf(world, "web")?.audit === 2);
    assert.equal(configOf(world, "web")?.ingressEnforced, 0);
    assert.equal(configOf(world, "web", AUDIT_ID)?.ingressDefaultDeny, 1);
    assert.deepEqual(
      [configOf(world, "db")?.audit, configOf(world, "db")?.ingressDefaultDeny],
      [0, 1],
      "the policy next to it is enforced",
    );
    const before = configOf(world, "web", AUDIT_ID)?.generation;
    await world.add("client");
    const beside = () => world.kernel.datapath.maps.policy.get((world.state.endpoints.by("pod", "default/web")[0]?.id ?? 0) | AUDIT_ID);
    await until(() => [...(beside()?.entries() ?? [])].some(([{ secLabel }]) => secLabel === identityOf(world, "client")));
    assert.equal(configOf(world, "web", AUDIT_ID)?.generation, before, "one more peer is no other policy");
    await world.cluster.patch(kinds.CILIUM_NETWORK_POLICIES, { namespace: "default", name: "p" }, "merge", annotate(null));
    await until(() => configOf(world, "web")?.ingressDefaultDeny === 1);
    await until(() => configOf(world, "web")?.audit === 0 && configOf(world, "web", AUDIT_ID)?.generation === 0);
    assert.ok(admitted(world, "web")?.includes(identityOf(world, "client")));
  });
  it("of a namespace and of one endpoint: nothing of theirs is denied, and it ends when the setting does", async () => {
    await using world = await startWorld();
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("p", "web", "client"));
    await world.add("web");
    assert.equal(configOf(world, "web")?.audit, 0);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enabled"));
    await until(() => configOf(world, "web")?.audit === 1);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("disabled"));
    await until(() => configOf(world, "web")?.audit === 0);
    // A slip opens nothing.
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enabled"));
    await until(() => configOf(world, "web")?.audit === 1);
    await world.cluster.patch(kinds.NAMESPACES, { name: "default" }, "merge", annotate("enable"));
    await until(() => configOf(world, "web")?.audit === 0);
    const [row] = world.state.endpoints.by("pod", "default/web");
    world.control.setAuditMode(row?.id ?? assert.fail(), true);
    await until(() => configOf(world, "web")?.audit === 1);
  });
  it("spelt wrong, refuses the policy: nobody is cut off by what was meant to be an audit", async () => {
    await using world = await startWorld();
    await world.add("web");
    const { metadata, spec } = policy("p", "web", "client");
    await world.cluster.create(kinds.CILIUM_NETWORK_POLICIES, { metadata: { ...metadata, ...annotate("on").metadata }, spec } as never);
    await until(() => world.state.policies.table.get("CiliumNetworkPolicy/default/p") !== undefined);
    await world.loops.pipeline.settled();
    assert.match(
      world.state.policies.table.get("CiliumNetworkPolicy/default/p")?.parsed.issues[0]?.message ?? "",
      /found "on", allowed are/,
    );
    assert.equal(admitted(world, "web"), undefined);
  });
});

/** Everything that decides about packets, by names instead of numbers that depend on the order of arrival. */
function dumpWorld(world: World): string[] {
  const { policy: outer, policyConfig, ipcache, ipcacheLpm } = world.kernel.datapath.maps;
  const labels = (id: number) => world.state.identities.table.get(id)?.labels.texts.join() ?? (id === 0 ? "any" : `unknown ${id}`);
  const policies = [...world.state.endpoints.list()].flatMap(({ id, pod }) => {
    const { generation: _, ...config } = policyConfig.get(id) ?? { generation: 0 };
    const entries = [...(outer.get(id)?.entries() ?? [])].map(
      ([key, value]) => `${JSON.stringify({ ...key, secLabel: labels(key.secLabel) })} ${JSON.stringify(value)}`,
    );
    return [JSON.stringify(config), ...entries].map((line) => `${pod.name} ${line}`);
  });
  const address = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const owner = (bytes: Uint8Array) => world.state.endpoints.by("ip", addressFromBytes(bytes))[0]?.pod.name ?? address(bytes);
  const exact = [...ipcache.entries()].map(([key, { secId }]) => `${owner(key.bytes)} ${labels(secId)}`);
  const wider = [...ipcacheLpm.entries()].map(([key, { secId }]) => `${address(key.address.bytes)}/${key.prefixlen} ${labels(secId)}`);
  return [...policies, ...exact, ...wider].sort();
}

describe("the order of events", () => {
  it("does not matter: the same objects give the same maps", async () => {
    const peer = (name: string, ip: string, node: string) => ({
      metadata: { name, namespace: "default" },
      status: { id: 1, identity: { id: 40_000 + Number(ip.split(".")[3]) }, networking: { addressing: [{ ipv4: ip }], node } },
    });
    const identity = (id: number, app: string) => ({
      metadata: { name: String(id) },
      "security-labels": { "k8s:app": app, "k8s:io.kubernetes.pod.namespace": "default", "k8s:io.cilium.k8s.policy.cluster": "default" },
    });
    const egress = {
      endpointSelector: {},
      egress: [{ toCIDRSet: [{ cidr: "198.51.100.0/24", except: ["198.51.100.7/32"] }] }, { toEndpoints: [{}] }],
    };
    const events: ((world: World) => Promise<unknown>)[] = [
      ({ cluster }) => cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("one", "web", "client")),
      ({ cluster }) => cluster.create(kinds.CILIUM_NETWORK_POLICIES, policy("two", "web", "far")),
      ({ cluster }) => cluster.create(kinds.CILIUM_NETWORK_POLICIES, { metadata: { name: "out", namespace: "default" }, spec: egress }),
      ({ cluster }) => cluster.create(kinds.CILIUM_IDENTITIES, identity(40_001, "far")),
      ({ cluster }) => cluster.create(kinds.CILIUM_IDENTITIES, identity(40_002, "client")),
      ({ cluster }) => cluster.create(kinds.CILIUM_ENDPOINTS, peer("a", "10.0.1.1", "192.0.2.2")),
      ({ cluster }) => cluster.create(kinds.CILIUM_ENDPOINTS, peer("b", "10.0.1.2", "192.0.2.2")),
      (world) => world.add("web"),
      (world) => world.add("client"),
    ];
    let expected: string[] | undefined;
    for (let seed = 1; seed <= 6; seed++) {
      await using world = await startWorld();
      const shuffled = events
        .map((event, index) => ({ event, at: (Math.sin(seed * 97 + index * 13) * 1e4) % 1 }))
        .sort((a, b) => a.at - b.at);
      for (const { event } of shuffled) await event(world);
      expected ??= await settledDump(world);
      assert.ok(expected.length > 20);
      await until(() => JSON.stringify(dumpWorld(world)) === JSON.stringify(expected));
    }
  });
});

/** The dump once nothing changes any more. */
async function settledDump(world: World): Promise<string[]> {
  await until(() => world.state.policies.table.size === 3 && world.state.ipcache.table.size > 6);
  for (let round = 0; round < 5; round++) await world.loops.pipeline.settled();
  return dumpWorld(world);
}

describe("CNI ADD", () => {
  it("undoes everything when any step fails", async () => {
    for (const broken of ["veth", "route", "address", "neighbour"]) {
      let armed = true;
      await using world = await startWorld({ netlinkFail: (operation) => (armed && operation === broken ? "ENOMEM" : undefined) });
      await assert.rejects(world.add("web"), broken);
      assert.equal(world.state.endpoints.size, 0);
      assert.equal(world.kernel.pools[0]?.owners().size, 0);
      const endpoints = readdirSync(join(world.directory, "state")).filter((name) => /^\d+$/.test(name));
      assert.deepEqual(endpoints, []);
      assert.deepEqual(
        world.kernel.netlink.links().map(({ name }) => name),
        ["lo"],
      );
      await world.loops.pipeline.settled();
      assert.deepEqual([...world.kernel.datapath.maps.lxcIfindex.keys()], []);
      assert.equal(world.state.ipcache.table.get("10.0.0.2/32"), undefined);
      armed = false;
      await world.add("web");
    }
  });
  it("fails, with everything undone, when the API server does not know the pod or does not answer", async () => {
    await using world = await startWorld();
    const request = {
      command: "ADD",
      containerId: "c",
      netns: "/dev/null",
      ifname: "eth0",
      pod: { namespace: "default", name: "nobody", uid: "" },
    } as const;
    await assert.rejects(
      world.control.add({ ...request, config: { cniVersion: "1.0.0", validAttachments: [] } }),
      /there is no pod default\/nobody/,
    );
    assert.equal(world.kernel.pools[0]?.owners().size, 0);
  });
});
