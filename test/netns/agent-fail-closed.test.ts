import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startNode, type TestNode, type TestPod, until } from "./node.ts";
import { canTalk, echoServer } from "./traffic.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const CNP = "ciliumnetworkpolicies.cilium.io";
const PORT = 8080;
/** Milliseconds for an answer that is to come. */
const PATIENCE = 10_000;
/** An edit that the API server takes and the agent refuses: the exception is not in the block. */
const REFUSED = { spec: { ingress: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["192.0.2.0/24"] }] }] } };

describe("what must stay shut on a node", { skip: missing }, () => {
  let node: TestNode;
  const servers: AsyncDisposable[] = [];
  const add = async (name: string): Promise<{ pod: TestPod; ip: string }> => {
    const pod = node.createPod(name, { app: name });
    const { code, output } = await node.cni("ADD", pod);
    assert.equal(code, 0, JSON.stringify(output));
    const { ips } = output as { readonly ips: readonly { readonly address: string }[] };
    return { pod, ip: ips[0]?.address.split("/")[0] ?? "" };
  };
  /** By the kernel: on a slow machine an answer that is late looks like one that is denied. */
  const enforced = (name: string) =>
    until(`the policy of ${name} is in force`, async () => {
      const { status } = (await node.agent.get(`/v1/endpoint/pod-name:default:${name}`)) as {
        readonly status: { readonly policy: { readonly realized: { readonly "policy-enabled": string } } };
      };
      return status.policy.realized["policy-enabled"] === "ingress";
    });
  const closed = (name: string, fromCIDR: string[]) => ({
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace: "default" },
    spec: { endpointSelector: { matchLabels: { app: name } }, ingress: [{ fromCIDR }] },
  });

  before(async () => {
    node = await startNode({ flags: [] });
    await node.agent.start();
  });
  after(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  it("a policy whose edit is refused keeps its last valid meaning", async () => {
    const [web, client] = [await add("edited"), await add("client")];
    servers.push(await echoServer(web.pod.netns, PORT));
    node.api.create(CNP, closed("edited", ["192.0.2.0/24"]));
    await enforced("edited");
    node.api.patch(CNP, "edited", "default", REFUSED, { type: "merge" });
    // A second policy shows that the first one's edit has been seen.
    node.api.create(CNP, closed("client", ["192.0.2.0/24"]));
    await enforced("client");
    for (let again = 0; again < 5; again += 1) assert.equal(await canTalk(client.pod.netns, web.ip, PORT, 100), false);
  });

  it("over restarts, and when the agent was away while it was edited", async () => {
    const [web, away, client] = [await add("restarted"), await add("away"), await add("visitor")];
    servers.push(await echoServer(web.pod.netns, PORT), await echoServer(away.pod.netns, PORT));
    for (const name of ["restarted", "away"]) node.api.create(CNP, closed(name, ["192.0.2.0/24"]));
    for (const name of ["restarted", "away"]) await enforced(name);
    node.api.patch(CNP, "restarted", "default", REFUSED, { type: "merge" });
    await node.agent.stop("SIGKILL");
    node.api.patch(CNP, "away", "default", REFUSED, { type: "merge" });
    await node.agent.start();
    const [fresh, other] = [await add("fresh-1"), await add("other-1")];
    servers.push(await echoServer(fresh.pod.netns, PORT));
    assert.equal(await canTalk(other.pod.netns, fresh.ip, PORT, PATIENCE), true, "the agent works");
    for (const { ip } of [web, away]) assert.equal(await canTalk(client.pod.netns, ip, PORT, 200), false);
  });

  it("a pod whose endpoint file cannot be read stays cut off when the agent comes back", async () => {
    const [web, client] = [await add("lost"), await add("caller")];
    servers.push(await echoServer(web.pod.netns, PORT), await echoServer(client.pod.netns, PORT));
    node.api.create(CNP, closed("lost", ["192.0.2.0/24"]));
    await enforced("lost");
    await node.agent.stop("SIGKILL");
    const state = join(node.directory, "state");
    for (const id of readdirSync(state).filter((name) => /^\d+$/.test(name))) writeFileSync(join(state, id, "endpoint.json"), "");
    await node.agent.start();
    assert.equal(await canTalk(client.pod.netns, web.ip, PORT, 200), false, "into the pod");
    assert.equal(await canTalk(web.pod.netns, client.ip, PORT, 200), false, "out of the pod");
    const [fresh, other] = [await add("fresh"), await add("other")];
    servers.push(await echoServer(fresh.pod.netns, PORT));
    assert.equal(await canTalk(other.pod.netns, fresh.ip, PORT, PATIENCE), true, "new pods work");
    assert.equal(await canTalk(web.pod.netns, fresh.ip, PORT, 200), false, "and the lost one does not reach them");
  });
});
