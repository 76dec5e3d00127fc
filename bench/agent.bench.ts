import { startNode, type TestNode } from "../test/netns/node.ts";
import { type Stream, startStream } from "./probe/stream.ts";
import { type Benchmark, percentiles, type Row } from "./row.ts";

const BIRTHS = 50;
const APPLIES = 30;
const PORT = 7000;
const INTERVAL_US = 500;
const POLICIES = "ciliumnetworkpolicies.cilium.io";
/** Milliseconds. */
const GOALS = { p50: 3, p99: 15 };

interface Added {
  readonly ips: readonly { readonly address: string }[];
}

/** A pod that went through CNI ADD. */
async function addPod(node: TestNode, name: string, labels: Record<string, string>) {
  const pod = node.createPod(name, labels);
  const { code, output, ms } = await node.cni("ADD", pod);
  if (code !== 0) throw new Error(`CNI ADD of ${name}: ${JSON.stringify(output)}`);
  return { netns: pod.netns.path, address: (output as Added).ips[0]?.address.split("/")[0] ?? "", ms };
}

function ingressPolicy(name: string, ingress: readonly unknown[]) {
  const spec = { endpointSelector: { matchLabels: { app: "server" } }, ingress };
  return { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name, namespace: "default" }, spec };
}

/** From the API server's store to the first datagram that obeys. */
async function measurePolicies(node: TestNode, stream: Stream): Promise<Row[]> {
  const toPorts = [{ ports: [{ port: String(PORT), protocol: "UDP" }] }];
  const times = { allow: [] as number[], deny: [] as number[] };
  for (let i = 0; i < APPLIES; i += 1) {
    const name = `allow-${i}`;
    const applied = performance.now();
    node.api.create(POLICIES, ingressPolicy(name, [{ fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts }]));
    times.allow.push((await stream.turned("allowed")) - applied);
    const deleted = performance.now();
    node.api.delete(POLICIES, name, "default");
    times.deny.push((await stream.turned("denied")) - deleted);
  }
  const of = (name: string, note: string) => ({ name: `agent/${name}`, unit: "ms", note });
  return [
    ...percentiles(of("policy-allow", `policy stored to first packet through, ${APPLIES} times`), times.allow, GOALS),
    ...percentiles(of("policy-deny", "policy deleted to first packet of a stream cut"), times.deny, GOALS),
  ];
}

/** One agent process with an API server, without a lab: what the agent itself takes. */
export const benchmark: Benchmark = {
  name: "agent",
  about: "one agent: CNI ADD by the real plugin, and from a policy in the API server to the packet that obeys it",
  async run(progress): Promise<Row[]> {
    await using node = await startNode();
    progress("starting an agent");
    const ready = await node.agent.start();
    const [client, server] = [await addPod(node, "client", { app: "client" }), await addPod(node, "server", { app: "server" })];
    node.api.create(POLICIES, ingressPolicy("deny", [{}]));
    await using stream = startStream(client.netns, server.netns, server.address, PORT, INTERVAL_US);
    await stream.turned("denied");
    progress(`${APPLIES} policies`);
    const policies = await measurePolicies(node, stream);
    progress(`${BIRTHS} births`);
    const births: number[] = [];
    for (let i = 0; i < BIRTHS; i += 1) births.push((await addPod(node, `born-${i}`, { app: "born", group: String(i % 5) })).ms);
    const adds = { name: "agent/cni-add", unit: "ms", note: `the plugin from start to end, ${BIRTHS} pods, five label sets` };
    return [{ name: "agent/ready", unit: "ms", ours: ready, note: "cold start" }, ...percentiles(adds, births, GOALS), ...policies];
  },
};
