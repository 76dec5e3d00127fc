import assert from "node:assert/strict";
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isDeepStrictEqual, promisify } from "node:util";
import { addr16Text } from "#datapath/addr16.ts";
import { maps } from "#datapath/gen/maps.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { startNode, type TestNode, until } from "./node.ts";
import { canTalk, echoServer } from "./traffic.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const SLICES = "endpointslices.discovery.k8s.io";
const REDIRECTS = "ciliumlocalredirectpolicies.cilium.io";
const [PORT, NODE_PORT, HOST_PORT] = [80, 31_080, 8890];
const MANY = 5_000;
/** The agent looks every 30 s; the machine may have other things to do. */
const REPAIRED_MS = 120_000;

interface ServiceJson {
  readonly spec: { readonly "frontend-address": { readonly ip: string }; readonly flags: { readonly type: string } };
}

function service(name: string, clusterIP: string, more: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { clusterIP, ports: [{ port: PORT }], ...more },
  };
}

function slice(of: string, address: string, port: number): object {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${of}-1`, namespace: "default", labels: { "kubernetes.io/service-name": of } },
    addressType: "IPv4",
    endpoints: [{ addresses: [address] }],
    ports: [{ name: "", port }],
  };
}

function redirect(skipRedirectFromBackend: boolean): object {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumLocalRedirectPolicy",
    metadata: { name: "cache", namespace: "default" },
    spec: {
      redirectFrontend: { serviceMatcher: { serviceName: "cache", namespace: "default" } },
      redirectBackend: { localEndpointSelector: { matchLabels: { app: "local" } }, toPorts: [{ port: "9999", protocol: "TCP" }] },
      skipRedirectFromBackend,
    },
  };
}

/** What the kubelet says of a pod that runs. */
function setReady(node: TestNode, name: string, ips: readonly string[]): void {
  const conditions = [{ type: "Ready", status: "True" }];
  const status = { phase: "Running", podIP: ips[0], podIPs: ips.map((ip) => ({ ip })), conditions };
  node.api.update("pods", { ...node.api.get<object>("pods", name, "default"), status } as never, { subresource: "status" });
}

async function services(node: TestNode): Promise<readonly ServiceJson[]> {
  return (await node.agent.get("/v1/service")) as readonly ServiceJson[];
}

async function addPod(node: TestNode, name: string, ports: readonly object[] = []) {
  const pod = node.createPod(name, { app: name }, ports);
  const { code, output } = await node.cni("ADD", pod);
  assert.equal(code, 0, JSON.stringify(output));
  const { ips } = output as { readonly ips: readonly { readonly address: string }[] };
  const addresses = ips.map(({ address }) => address.split("/")[0] ?? "");
  return { netns: pod.netns, ip: addresses[0] ?? "", ips: addresses };
}

describe("an agent beside kube-proxy", { skip: missing }, () => {
  let node: TestNode;
  before(async () => {
    node = await startNode({ flags: ["--kube-proxy-replacement=false"] });
    await node.agent.start();
  });
  after(() => node?.[Symbol.asyncDispose]());

  it("gives pods their services' cluster addresses, and leaves everything else to it", async () => {
    const [web, client] = [await addPod(node, "web"), await addPod(node, "client")];
    await using _ = await echoServer(web.netns, 8080);
    node.api.create("services", service("web", "10.96.7.7", { type: "NodePort", ports: [{ port: PORT, nodePort: NODE_PORT }] }));
    node.api.create(SLICES, slice("web", web.ip, 8080));
    await until("the pod reaches the service", () => canTalk(client.netns, "10.96.7.7", PORT));
    await until("the backend reaches itself through it", () => canTalk(web.netns, "10.96.7.7", PORT));
    assert.deepEqual([...new Set((await services(node)).map(({ spec }) => spec.flags.type))], ["ClusterIP"]);
    assert.equal(await canTalk(node.world, node.address, NODE_PORT, 300), false);
    const { "kube-proxy-replacement": status } = (await node.agent.get("/v1/healthz")) as Readonly<
      Record<string, { mode: string; msg: string }>
    >;
    assert.equal(status?.mode, "False");
    assert.match(status?.msg ?? "", /only cluster IPs, from pods/);
  });

  it("redirects everybody to a pod of the node, and the pod itself only when the policy does not say otherwise", async () => {
    const [origin, local, caller] = [await addPod(node, "origin"), await addPod(node, "local"), await addPod(node, "caller")];
    await using _ = await echoServer(origin.netns, 8080);
    node.api.create("services", service("cache", "10.96.7.8"));
    node.api.create(SLICES, slice("cache", origin.ip, 8080));
    for (const pod of [local, caller]) await until("the service works", () => canTalk(pod.netns, "10.96.7.8", PORT));
    setReady(node, "local", local.ips);
    // Nobody listens where the redirect leads to: who is redirected is refused.
    const redirects = async (policy: object, expected: object) => {
      node.api.create(REDIRECTS, policy);
      const reach = async () => ({
        caller: await canTalk(caller.netns, "10.96.7.8", PORT),
        local: await canTalk(local.netns, "10.96.7.8", PORT),
      });
      await until(`${JSON.stringify(expected)} reach the service`, async () => JSON.stringify(await reach()) === JSON.stringify(expected));
      node.api.delete(REDIRECTS, "cache", "default");
      await until(
        "it is as it was",
        async () => (await canTalk(caller.netns, "10.96.7.8", PORT)) && canTalk(local.netns, "10.96.7.8", PORT),
      );
    };
    await redirects(redirect(false), { caller: false, local: false });
    await redirects(redirect(true), { caller: false, local: true });
  });
});

describe("an agent in place of kube-proxy", { skip: missing }, () => {
  let node: TestNode;
  let cgroup: string;
  before(async () => {
    cgroup = join(findCgroup2() ?? "", `cilia-agent-services-${process.pid}`);
    mkdirSync(cgroup);
    const flags = ["--kube-proxy-replacement=true", `--cgroup-root=${cgroup}`, "--bpf-lb-acceleration=best-effort"];
    node = await startNode({ flags, ipv6: true });
    await node.agent.start();
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
    rmdirSync(cgroup);
  });

  const inNode = (command: string) => execFileSync("nsenter", [`--net=${node.netns.path}`, "sh", "-c", command], { encoding: "utf8" });
  /** Without the tool the kernel says whether there is any table. */
  const hasTool = spawnSync("sh", ["-c", "command -v iptables-save"]).status === 0;
  const rules = () => inNode(hasTool ? "iptables-save | grep -v '^#' || true" : "cat /proc/net/ip_tables_names");

  it(`makes no rule of iptables, neither for one service nor for ${MANY}, and the first and the last of them work`, async (t) => {
    t.diagnostic(hasTool ? "compared: iptables-save" : "iptables-save is not here; compared: /proc/net/ip_tables_names");
    const [web, client] = [await addPod(node, "web"), await addPod(node, "client")];
    await using _ = await echoServer(web.netns, 8080);
    const addressOf = (i: number) => `10.96.${16 + (i >> 7)}.${(i & 127) + 1}`;
    const add = (i: number) => {
      node.api.create("services", service(`many-${i}`, addressOf(i)));
      node.api.create(SLICES, slice(`many-${i}`, web.ip, 8080));
    };
    add(0);
    await until("the first works", () => canTalk(client.netns, addressOf(0), PORT));
    const one = rules();
    for (let i = 1; i < MANY; i += 1) add(i);
    await until("the last works", () => canTalk(client.netns, addressOf(MANY - 1), PORT), 60_000);
    await until("all are known", async () => (await services(node)).length >= MANY, 60_000);
    assert.equal(rules(), one);
    assert.equal(await canTalk(client.netns, addressOf(0), PORT, 10_000), true);
  });

  it("goes without a program at the driver of a veth, and says so", () => {
    assert.match(readFileSync(node.agent.logFile, "utf8"), /"device":"eth0".*the device's driver takes no program/);
    assert.doesNotMatch(inNode("ip -d link show eth0"), /xdp/);
  });

  it("answers the node's own processes at its loopback addresses, too: node ports, and host ports of both families", async () => {
    const pod = await addPod(node, "hosted", [{ containerPort: 8080, hostPort: HOST_PORT }]);
    await using _ = await echoServer(pod.netns, 8080);
    await using __ = await echoServer(pod.netns, 8080, "::");
    node.api.create("services", service("hosted", "10.96.7.11", { type: "NodePort", ports: [{ port: PORT, nodePort: NODE_PORT }] }));
    node.api.create(SLICES, slice("hosted", pod.ip, 8080));
    setReady(node, "hosted", pod.ips);
    const client = join(import.meta.dirname, "socket-client.pl");
    const answered = async (address: string, port: number) => {
      const call = `exec nsenter --net=${node.netns.path} perl ${client} tcp ${address} ${port}`;
      const { stdout } = await promisify(execFile)("sh", ["-c", `echo $$ > ${cgroup}/cgroup.procs; ${call}`]);
      return stdout.trim() === `hello from ${address} ${port}`;
    };
    for (const address of ["127.0.0.1", "127.0.0.2", node.address]) {
      await until(`${address} answers at the node port`, () => answered(address, NODE_PORT));
      await until(`${address} answers at the host port`, () => answered(address, HOST_PORT));
    }
    await until("::1 answers at the host port", () => answered("::1", HOST_PORT));
  });

  it("puts right what somebody else does to the maps: an entry gone, one changed, one too many, the node forgotten", async () => {
    const [shop, client] = [await addPod(node, "shop"), await addPod(node, "buyer")];
    await using _ = await echoServer(shop.netns, 8080);
    node.api.create("services", service("shop", "10.96.7.9"));
    node.api.create(SLICES, slice("shop", shop.ip, 8080));
    const works = () => canTalk(client.netns, "10.96.7.9", PORT);
    await until("the service works", works);
    const pinned = (name: string) => join(node.directory, "bpf", "tc", "globals", name);
    using slots = openBpf().openMap(maps.ciliumLbServices, pinned("cilium_lb_services"));
    using backends = openBpf().openMap(maps.ciliumLbBackends, pinned("cilium_lb_backends"));
    using self = openBpf().openMap(maps.ciliumLbNode, pinned("cilium_lb_node"));
    const known = self.get(0) ?? assert.fail("the node's addresses");
    const own = [...slots.entries()].filter(([key]) => addr16Text(key.address) === "10.96.7.9");
    const [id, backend] = [...backends.entries()].find(([, { address }]) => addr16Text(address) === shop.ip) ?? [];
    assert.ok(own.length === 2 && id !== undefined && backend !== undefined, "a service, its one backend");
    const [[key, value] = assert.fail()] = own;
    const stranger = { ...key, port: 4242 };
    for (const [slot] of own) slots.delete(slot);
    backends.set(id, { ...backend, port: 9 });
    slots.set(stranger, value);
    self.set(0, { ...known, ipv4: known.ipv6, netnsCookie: 0n });
    await until("the service works again", works, REPAIRED_MS);
    await until("what is nobody's is gone", () => slots.get(stranger) === undefined, REPAIRED_MS);
    await until("the node is known again", () => isDeepStrictEqual(self.get(0), known), REPAIRED_MS);
    assert.equal(backends.get(id)?.port, backend.port);
  });
});
