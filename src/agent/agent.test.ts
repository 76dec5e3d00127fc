import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { FailureInjector } from "#ebpf/fake.ts";
import { KubeError } from "#k8s/client.ts";
import * as kinds from "#k8s/resources.ts";
import { KernelError } from "#sys/kernel-error.ts";
import { addressFromBytes } from "#types/addr.ts";
import { admitted, identityOf, policy, startWorld, until, type World } from "./test-world.ts";

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
