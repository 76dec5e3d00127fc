import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { AgentStatusShape } from "#cmd/cilium/shapes.ts";
import { openNetlink } from "#netlink/socket.ts";
import { startNode, type TestNode, type TestPod, until } from "./node.ts";
import { canTalk, connectFrom, echoServer, udpSocket } from "./traffic.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;

interface Added {
  readonly ips: readonly { readonly address: string }[];
}

interface EndpointJson {
  readonly id: number;
  readonly status: {
    readonly state: string;
    readonly identity: { readonly id: number };
    readonly policy: { readonly realized: { readonly "policy-enabled": string; readonly "policy-revision": number } };
  };
}

/** A pod that went through CNI ADD; its address, and how long the plugin took. */
async function addPod(node: TestNode, name: string, labels: Record<string, string>): Promise<PodAt & { ipv6: string }> {
  const pod = node.createPod(name, labels);
  const { code, output } = await node.cni("ADD", pod);
  assert.equal(code, 0, JSON.stringify(output));
  const [ip = "", ipv6 = ""] = (output as Added).ips.map(({ address }) => address.split("/")[0] ?? "");
  return { pod, ip, ipv6 };
}

function allowPolicy(name: string, to: string, from: string, port: number) {
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    spec: {
      endpointSelector: { matchLabels: { app: to } },
      ingress: [{ fromEndpoints: [{ matchLabels: { app: from } }], toPorts: [{ ports: [{ port: String(port), protocol: "TCP" }] }] }],
    },
  };
}

const CNP = "ciliumnetworkpolicies.cilium.io";
/** Milliseconds for an answer that is to come. */
const PATIENCE = 10_000;

describe("cilium-agent on one node", { skip: missing }, () => {
  let node: TestNode;
  let [web, client, other]: PodAt[] = [];
  let server: AsyncDisposable;
  const endpointOf = async (name: string) => (await node.agent.get(`/v1/endpoint/pod-name:default:${name}`)) as EndpointJson;

  /** By the kernel: on a slow machine an answer that is late looks like one that is denied. */
  const enforced = (mode: string) =>
    until(`web's policy is in force: ${mode}`, async () => (await endpointOf("web")).status.policy.realized["policy-enabled"] === mode);

  before(async () => {
    node = await startNode({ flags: ["--endpoint-gc-interval=200ms"] });
    await node.agent.start();
    web = await addPod(node, "web", { app: "web" });
    client = await addPod(node, "client", { app: "client" });
    other = await addPod(node, "other", { app: "other" });
    server = await echoServer(web.pod.netns, 8080);
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  it("connects pods, publishes their endpoints and the node", async () => {
    assert.ok(web && client);
    assert.equal(await canTalk(client.pod.netns, web.ip, 8080, PATIENCE), true);
    assert.equal((await endpointOf("web")).status.state, "ready");
    await until("CiliumEndpoint web is ready", () => cep(node, "web")?.status?.state === "ready");
    assert.equal(cep(node, "web")?.status?.networking.addressing[0]?.ipv4, web.ip);
    const ciliumNode = node.api.get<{ spec: { addresses: { type: string; ip: string }[] } }>("ciliumnodes.cilium.io", node.name);
    assert.deepEqual(ciliumNode?.spec.addresses[1], { type: "CiliumInternalIP", ip: "10.244.1.1" });
    assert.equal(existsSync(join(node.directory, "net.d", "05-cilium.conflist")), true);
  });

  it("enforces a policy, cuts the connections it no longer allows, and lets go when it is deleted", async () => {
    assert.ok(web && client && other);
    using denied = await connectFrom(other.pod.netns, web.ip, 8080, PATIENCE);
    using allowed = await connectFrom(client.pod.netns, web.ip, 8080, PATIENCE);
    assert.ok(denied && allowed);
    const applied = performance.now();
    node.api.create(CNP, allowPolicy("web", "web", "client", 8080));
    await enforced("ingress");
    await until("the flow that is not allowed is cut", async () => !(await denied.echo(`x${performance.now()}`, 20)));
    const enforcedMs = performance.now() - applied;
    assert.equal(await allowed.echo("still there", PATIENCE), true);
    assert.equal(await canTalk(client.pod.netns, web.ip, 8080, PATIENCE), true);
    assert.equal(await canTalk(other.pod.netns, web.ip, 8080, 200), false);
    node.api.delete(CNP, "web", "default");
    await until("everybody may talk again", () => canTalk(other?.pod.netns as never, web?.ip ?? "", 8080, 200));
    console.log(`# policy applied → established flow cut: ${enforcedMs.toFixed(0)} ms (includes a probe of 20 ms)`);
  });

  it("tells its state and settings in the shapes that upstream's cilium-dbg reads", async () => {
    const get = async (path: string) => (await node.agent.get(path)) as Readonly<Record<string, never>>;
    const status = (await get("/v1/healthz")) as AgentStatusShape;
    // A number there, and upstream's client takes nothing of the whole answer.
    assert.match(status.hubble?.observer?.uptime ?? "", /^[0-9.hmµns]+$/);
    assert.equal(status["attach-mode"], "tcx");
    assert(status.controllers?.some(({ status: counts }) => counts?.["last-success-timestamp"] !== undefined));
    const { realized, daemonConfigurationMap } = (await get("/v1/config")).status as unknown as Readonly<Record<string, object>>;
    assert.deepEqual(Object.keys(realized ?? {}), ["options", "policy-enforcement"]);
    assert.ok(daemonConfigurationMap);
    const info = await get("/v1/debuginfo");
    assert.deepEqual([typeof info["cilium-version"], info["environment-variables"]], ["string", []]);
    assert.deepEqual(Object.keys(info["cilium-status"] ?? {}), Object.keys(status));
    const { "pod-metadatas": pods } = await get("/v1/cgroup-dump-metadata");
    assert.equal((pods as unknown as unknown[]).length, ((await node.agent.get("/v1/endpoint")) as unknown[]).length);
  });

  it("answers what the kernel has, and lets pass in audit mode what policy denies", async () => {
    assert.ok(web && other);
    node.api.create(CNP, allowPolicy("web", "web", "client", 8080));
    await enforced("ingress");
    const { id } = await endpointOf("web");
    const dumped = (await node.agent.get(`/v1/bpf/policy/${id}`)) as {
      entries: { port: number; rules: { name: string; section: string }[] }[];
    }[];
    const entry = dumped[0]?.entries.find(({ port }) => port === 8080);
    assert.deepEqual([entry?.rules[0]?.name, entry?.rules[0]?.section], ["web", "ingress"]);
    await node.agent.send("PATCH", "/v1/config", { options: { PolicyAuditMode: "Enabled" } });
    await enforced("audit-ingress");
    await until("it passes", () => canTalk(other?.pod.netns as never, web?.ip ?? "", 8080, 500));
    await node.agent.send("PATCH", "/v1/config", { options: { PolicyAuditMode: "Disabled" } });
    await enforced("ingress");
    assert.equal(await canTalk(other.pod.netns, web.ip, 8080, 200), false);
    node.api.delete(CNP, "web", "default");
    await until("everybody may talk again", () => canTalk(other?.pod.netns as never, web?.ip ?? "", 8080, 200));
  });

  it("says to a client what is wrong with its request", async () => {
    const bad = ["endpoint/constructor:x", "endpoint/x", "endpoint/%zz", "identity/one", `${EXPLAIN}&port=99999`, `${EXPLAIN}&port=http`];
    for (const path of bad) assert.equal(await statusOf(node, `/v1/${path}`), 400, path);
    for (const path of ["endpoint/99999", "identity/99999", "map/constructor", "map/toString", "statedb/nothing", "nothing"])
      assert.equal(await statusOf(node, `/v1/${path}`), 404, path);
  });

  it("gives equal labels the same identity, and another one when labels change", async () => {
    const { ip } = await addPod(node, "web-2", { app: "web" });
    assert.ok(ip);
    const [first, second] = [await endpointOf("web"), await endpointOf("web-2")];
    assert.equal(first.status.identity.id, second.status.identity.id);
    node.api.patch("pods", "web-2", "default", { metadata: { labels: { app: "other" } } });
    const wanted = (await endpointOf("other")).status.identity.id;
    await until("web-2 has the identity of other", async () => (await endpointOf("web-2")).status.identity.id === wanted);
  });

  it("keeps verdicts and connections when the agent is killed, and loses nothing when it comes back", async () => {
    assert.ok(web && client && other);
    node.api.create(CNP, {
      ...allowPolicy("web-egress", "web", "client", 8080),
      spec: { endpointSelector: { matchLabels: { app: "web" } }, egress: [{ toCIDR: ["172.31.9.0/28"] }, { toEndpoints: [{}] }] },
    });
    node.api.create(CNP, allowPolicy("web", "web", "client", 8080));
    await enforced("both");
    using connection = await connectFrom(client.pod.netns, web.ip, 8080, PATIENCE);
    assert.ok(connection);
    await node.agent.stop("SIGKILL");
    assert.equal(await connection.echo("agent is dead", PATIENCE), true);
    assert.equal(await canTalk(client.pod.netns, web.ip, 8080, PATIENCE), true);
    assert.equal(await canTalk(other.pod.netns, web.ip, 8080, 200), false);
    const { code } = await node.cni("ADD", node.createPod("too-early", { app: "client" }));
    assert.notEqual(code, 0);
    const world = { pod: { ...web.pod, netns: node.world }, ip: "172.31.9.1" };
    const toWorld = countLostDuring(world, web, () => until("the agent is back", () => ready));
    let ready = false;
    const lost = await countLostDuring(client, web, () => node.agent.start());
    ready = true;
    assert.deepEqual({ lost, toWorld: await toWorld }, { lost: [], toWorld: [] });
    assert.equal(await connection.echo("agent is back", PATIENCE), true);
    assert.equal(await canTalk(other.pod.netns, web.ip, 8080, 200), false);
    assert.equal((await endpointOf("web")).status.state, "ready");
    node.api.delete(CNP, "web", "default");
    node.api.delete(CNP, "web-egress", "default");
  });

  it("says at CHECK what of a pod is no longer as ADD left it", async () => {
    const { pod, ip } = await addPod(node, "checked", { app: "checked" });
    const check = async () => ((await node.cni("CHECK", pod)).output as { msg?: string } | undefined)?.msg;
    using inside = openNetlink({ netns: pod.netns });
    const { index } = inside.link("eth0") ?? assert.fail("no eth0");
    assert.equal(await check(), undefined);
    inside.apply([{ set: "no-route", to: "0.0.0.0/0", index }]);
    assert.match((await check()) ?? "", /^endpoint \d+: the pod has no route to 0\.0\.0\.0\/0 through eth0$/);
    inside.apply([{ set: "no-address", index, address: `${ip}/32` }]);
    assert.match((await check()) ?? "", new RegExp(`eth0 of the pod lacks the address ${ip}/32$`));
    inside.apply([{ set: "link", index, up: false }]);
    assert.match((await check()) ?? "", /eth0 of the pod is down$/);
    inside.apply([{ set: "link", index, rename: "eth1" }]);
    assert.match((await check()) ?? "", /the pod has no eth0$/);
    assert.equal((await node.cni("DEL", pod)).code, 0);
  });

  it("removes everything at DEL, once and again, also when it was away", async () => {
    const gone = await addPod(node, "gone", { app: "gone" });
    const { code } = await node.cni("DEL", gone.pod);
    assert.equal(code, 0);
    assert.equal((await node.cni("DEL", gone.pod, "")).code, 0);
    assert.deepEqual(
      await node.agent.get("/v1/endpoint/pod-name:default:gone").then(messageOf),
      'there is no endpoint "pod-name:default:gone" on this node',
    );
    const late = await addPod(node, "late", { app: "late" });
    await node.agent.stop("SIGTERM");
    assert.equal((await node.cni("DEL", late.pod)).code, 0);
    await node.agent.start();
    assert.match(messageOf(await node.agent.get("/v1/endpoint/pod-name:default:late")), /there is no endpoint/);
    await until("its CiliumEndpoint is gone", () => cep(node, "late") === undefined);
  });

  it("removes an endpoint whose namespace went without a DEL", async () => {
    const doomed = await addPod(node, "doomed", { app: "doomed" });
    node.destroyPod(doomed.pod);
    await until("its endpoint is gone", async () =>
      /there is no endpoint/.test(messageOf(await node.agent.get("/v1/endpoint/pod-name:default:doomed"))),
    );
  });

  it("lets no packet through to a pod before its policy counts", async () => {
    assert.ok(other);
    node.api.create(CNP, allowPolicy("closed", "closed", "nobody", 9));
    const flood = await udpSocket(other.pod.netns, 0);
    let leaked = 0;
    for (let round = 0; round < 5; round++) {
      const pod = node.createPod(`closed-${round}`, { app: "closed" });
      const timer = setInterval(() => {
        for (let host = 2; host < 40; host++) flood.send(`10.244.1.${host}`, 9999, "flood");
      }, 1);
      try {
        const { code, output } = await node.cni("ADD", pod);
        assert.equal(code, 0, JSON.stringify(output));
        await using inside = await udpSocket(pod.netns, 9999);
        await new Promise((resolve) => setTimeout(resolve, 50));
        leaked += inside.received.length;
      } finally {
        clearInterval(timer);
      }
    }
    await flood[Symbol.asyncDispose]();
    node.api.delete(CNP, "closed", "default");
    assert.equal(leaked, 0);
  });
});

describe("cilium-agent with two families", { skip: missing }, () => {
  it("connects and protects pods over IPv6 as over IPv4", async () => {
    await using node = await startNode({ ipv6: true });
    await node.agent.start();
    const [web, client, other] = [
      await addPod(node, "web", { app: "web" }),
      await addPod(node, "client", { app: "client" }),
      await addPod(node, "other", { app: "other" }),
    ];
    assert.match(web.ipv6, /^fd00:10:244:1::/);
    await using _four = await echoServer(web.pod.netns, 8080);
    await using _six = await echoServer(web.pod.netns, 8080, "::");
    node.api.create(CNP, allowPolicy("web", "web", "client", 8080));
    for (const address of [web.ip, web.ipv6]) {
      await until(`the policy is enforced on ${address}`, async () => !(await canTalk(other.pod.netns, address, 8080, 100)));
      assert.equal(await canTalk(client.pod.netns, address, 8080, PATIENCE), true, address);
    }
  });
});

interface Cep {
  readonly status?: { readonly state: string; readonly networking: { readonly addressing: readonly { readonly ipv4?: string }[] } };
}

function cep(node: TestNode, name: string): Cep | undefined {
  return node.api.list<Cep & { metadata: { name: string } }>("ciliumendpoints.cilium.io").items.find((one) => one.metadata.name === name);
}

const EXPLAIN = "policy/explain?endpoint=pod-name:default:web&direction=ingress&protocol=TCP&identity=2";

function statusOf(node: TestNode, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: join(node.directory, "cilium.sock"), path }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    outgoing.on("error", reject).end();
  });
}

function messageOf(answer: unknown): string {
  return (answer as { message?: string }).message ?? "";
}

interface PodAt {
  readonly pod: TestPod;
  readonly ip: string;
}

/** The numbers of the datagrams that did not arrive while `work` ran. */
async function countLostDuring(to: PodAt, from: PodAt, work: () => Promise<unknown>): Promise<number[]> {
  await using receiver = await udpSocket(to.pod.netns, 7777);
  await using sender = await udpSocket(from.pod.netns, 0);
  let sent = 0;
  const timer = setInterval(() => sender.send(to.ip, 7777, String(sent++)), 1);
  await work();
  clearInterval(timer);
  await until("the last datagram arrived", () => receiver.received.includes(String(sent - 1)) || sent === 0, 2000);
  const heard = new Set(receiver.received);
  return Array.from({ length: sent }, (_, number) => number).filter((number) => !heard.has(String(number)));
}
