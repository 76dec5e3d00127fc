import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createIpcacheLookup } from "#proxy/kernel/identities.ts";
import { createTransparentTransport } from "#proxy/kernel/transparent.ts";
import { type AccessMessage, type EndpointPolicy, type HttpRule, PROXY_PORTS } from "#proxy/protocol.ts";
import { DEFAULT_PROXY_CONFIG, type RunningProxy, startProxy } from "#proxy/proxy.ts";
import { silentLogger } from "#runtime/logger.ts";
import { listener } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { type AccessCollector, createAccessCollector } from "./access-collector.ts";
import { dial, type Family, RealNode, type RealPod } from "./nodes.ts";

const TCP = 6;
const READ_ONLY: readonly HttpRule[] = [{ method: "GET", path: "/public.*" }];
const ANY: Readonly<Record<Family, string>> = { ipv4: "0.0.0.0", ipv6: "::" };

/** An HTTP server in a pod that says whom it sees. */
async function serveHttp(pod: RealPod): Promise<Server[]> {
  const servers: Server[] = [];
  for (const host of Object.values(ANY)) {
    const server = createServer((message, response) => response.end(`${pod.name} ${message.socket.remoteAddress} ${message.url}`));
    await new Promise<void>((resolve) => server.listen({ fd: listener({ host, port: 80, netns: pod.netns }) }, resolve));
    servers.push(server);
  }
  return servers;
}

/** One request from a pod, on a connection of its own. */
async function fetchFrom(client: RealPod, server: IpAddress, method: string, path: string): Promise<{ code: number; body: string }> {
  const socket = await dial(client.netns, server, 80, 30_000);
  const options = { method, path, host: server, headers: { host: "web" }, createConnection: () => socket };
  const response = await new Promise<IncomingMessage>((resolve, reject) => request(options, resolve).on("error", reject).end());
  let body = "";
  for await (const chunk of response) body += String(chunk);
  socket.destroy();
  return { code: response.statusCode ?? 0, body };
}

describe("HTTP policy through real sockets", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  const directory = mkdtempSync(join(tmpdir(), "cilium-proxy-"));
  const nodes: RealNode[] = [];
  const proxies: RunningProxy[] = [];
  const agents: AccessCollector[] = [];
  const servers: Server[] = [];
  const pods: RealPod[] = [];

  before(async () => {
    nodes.push(new RealNode("pxy", 1), new RealNode("pxy", 2));
    const [one, two] = nodes as [RealNode, RealNode];
    RealNode.connect(one, two);
    for (const node of nodes) node.start();
    pods.push(one.addPod("pxya", 1001), one.addPod("pxyb", 1002), two.addPod("pxyc", 1003));
    for (const node of nodes) node.learn(nodes);
    for (const pod of pods) servers.push(...(await serveHttp(pod)));
    for (const node of nodes) {
      proxies.push(await startProxyOf(node));
      agents.push(await createAccessCollector(socketOf(node)));
    }
  });

  const socketOf = (node: RealNode) => join(directory, `${node.number}.sock`);
  const startProxyOf = (node: RealNode) =>
    startProxy(
      {
        log: silentLogger,
        transport: createTransparentTransport({ ports: PROXY_PORTS, ipv6: true, netns: node.netns }),
        identities: createIpcacheLookup(node.maps.ipcache, node.maps.prefixes),
      },
      { ...DEFAULT_PROXY_CONFIG, socketPath: socketOf(node), statePath: join(directory, `${node.number}.json`), drainMs: 100 },
    );

  after(async () => {
    for (const agent of agents) agent.close();
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    for (const server of servers) server.close();
    for (const node of nodes) node[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  /** Puts HTTP rules on the pods' ingress or egress, in the kernel and in the proxies. */
  const enforce = async (wanted: readonly { pod: RealPod; direction: "ingress" | "egress"; http: readonly HttpRule[] | null }[]) => {
    for (const pod of pods) {
      const directions = wanted.filter((entry) => entry.pod === pod).map(({ direction }) => direction);
      const entries = directions.map((direction) => [direction, [{ protocol: TCP, port: 80, proxyPort: PROXY_PORTS[direction] }]]);
      pod.node.maps.setPolicy(pod, Object.fromEntries(entries));
    }
    for (const [i, node] of nodes.entries()) {
      const endpoints = pods
        .filter((pod) => pod.node === node)
        .map((pod): EndpointPolicy => {
          const rules = (direction: "ingress" | "egress") =>
            wanted
              .filter((entry) => entry.pod === pod && entry.direction === direction)
              .map(({ http }) => ({
                ...({ port: 80, protocol: "TCP" } as const),
                rules: [{ identities: null, http, origins: [] }],
              }));
          return { id: pod.lxcId, identity: pod.identity, ips: [pod.ipv4, pod.ipv6], ingress: rules("ingress"), egress: rules("egress") };
        });
      await agents[i]?.setPolicy(endpoints);
    }
  };
  /** What all proxies have counted, by direction and verdict. */
  const requests = () => {
    const totals: Record<string, number> = {};
    for (const { counters } of proxies) {
      for (const direction of ["ingress", "egress"] as const) {
        for (const verdict of ["FORWARDED", "DROPPED", "ERROR"] as const) {
          const name = `${direction} ${verdict}`;
          totals[name] = (totals[name] ?? 0) + counters.requests[direction][verdict];
        }
      }
    }
    return totals;
  };
  const records = async (count: number): Promise<readonly AccessMessage[]> =>
    (await Promise.all(agents.map((agent) => agent.take(count)))).flat();

  for (const family of ["ipv4", "ipv6"] as const) {
    for (const [place, index] of [
      ["the same node", 1],
      ["another node", 2],
    ] as const) {
      const both = () => [pods[0] as RealPod, pods[index] as RealPod] as const;

      it(`ingress rules: ${place}, ${family}`, async () => {
        const [client, server] = both();
        await enforce([{ pod: server, direction: "ingress", http: READ_ONLY }]);
        await records(0);
        assert.deepEqual(await fetchFrom(client, server[family], "GET", "/public"), {
          code: 200,
          body: `${server.name} ${client[family]} /public`,
        });
        assert.deepEqual(await fetchFrom(client, server[family], "POST", "/public"), { code: 403, body: "Access denied\r\n" });
        const [first] = (await records(0)).filter(({ direction }) => direction === "ingress");
        assert.deepEqual(
          [first?.source.identity, first?.destination.identity, first?.endpointId],
          [client.identity, server.identity, server.lxcId],
        );
      });

      it(`egress rules: ${place}, ${family}`, async () => {
        const [client, server] = both();
        await enforce([{ pod: client, direction: "egress", http: READ_ONLY }]);
        assert.deepEqual(await fetchFrom(client, server[family], "GET", "/public"), {
          code: 200,
          body: `${server.name} ${client[family]} /public`,
        });
        assert.equal((await fetchFrom(client, server[family], "GET", "/private")).code, 403);
      });

      it(`rules on both sides, many connections: ${place}, ${family}`, async () => {
        const [client, server] = both();
        await enforce([
          { pod: client, direction: "egress", http: null },
          { pod: server, direction: "ingress", http: READ_ONLY },
        ]);
        const before = requests();
        const paths = Array.from({ length: 120 }, (_, i) => (i % 4 === 0 ? `/private/${i}` : `/public/${i}`));
        const answers = await Promise.all(paths.map((path) => fetchFrom(client, server[family], "GET", path)));
        assert.deepEqual(
          answers.map(({ code }) => code),
          paths.map((path) => (path.startsWith("/public") ? 200 : 403)),
        );
        assert.ok(answers.every(({ code, body }, i) => code === 403 || body === `${server.name} ${client[family]} ${paths[i]}`));
        const counted = Object.entries(requests()).map(([name, total]) => [name, total - (before[name] ?? 0)]);
        const once = { "egress FORWARDED": 120, "egress DROPPED": 0, "egress ERROR": 0 };
        assert.deepEqual(
          Object.fromEntries(counted),
          { ...once, "ingress FORWARDED": 90, "ingress DROPPED": 30, "ingress ERROR": 0 },
          "each request counts once at each end",
        );
      });
    }

    it(`nobody talks to the listeners directly: ${family}`, async () => {
      await enforce([]);
      const before = proxies[0]?.counters.refused.direct ?? 0;
      const socket = await dial((nodes[0] as RealNode).netns, (nodes[0] as RealNode)[family], PROXY_PORTS.ingress).catch(() => undefined);
      if (socket !== undefined) await new Promise((resolve) => socket.once("close", resolve));
      assert.equal(proxies[0]?.counters.refused.direct, before + 1);
    });
  }

  it("cuts a connection whose policy is gone, and the next one goes straight", async () => {
    const [client, server] = [pods[0] as RealPod, pods[1] as RealPod];
    await enforce([{ pod: server, direction: "ingress", http: READ_ONLY }]);
    const socket = await dial(client.netns, server.ipv4, 80, 30_000);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await enforce([]);
    await closed;
    assert.equal((await fetchFrom(client, server.ipv4, "POST", "/x")).code, 200);
  });

  it("answers 503 when the server's port is closed", async () => {
    const [client, server] = [pods[0] as RealPod, pods[2] as RealPod];
    const policy = { ingress: [{ protocol: TCP, port: 81, proxyPort: PROXY_PORTS.ingress }] };
    await enforce([]);
    server.node.maps.setPolicy(server, policy);
    const rules = [{ identities: null, http: null, origins: [] }];
    const port = { port: 81, protocol: "TCP", rules } as const;
    await agents[1]?.setPolicy([
      { id: server.lxcId, identity: server.identity, ips: [server.ipv4, server.ipv6], ingress: [port], egress: [] },
    ]);
    const socket = await dial(client.netns, server.ipv4, 81, 30_000);
    socket.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    const answer = await new Promise<string>((resolve) => socket.once("data", (chunk) => resolve(chunk.toString())));
    assert.match(answer, /^HTTP\/1\.1 503 /);
    socket.destroy();
  });

  it("denies while the proxy is away, and judges by the saved policy before any agent comes back", async () => {
    const [client, server] = [pods[0] as RealPod, pods[1] as RealPod];
    await enforce([{ pod: server, direction: "ingress", http: READ_ONLY }]);
    assert.equal((await fetchFrom(client, server.ipv4, "GET", "/public")).code, 200);
    agents[0]?.close();
    await proxies[0]?.[Symbol.asyncDispose]();
    await assert.rejects(dial(client.netns, server.ipv4, 80, 300));
    proxies[0] = await startProxyOf(nodes[0] as RealNode);
    assert.deepEqual([proxies[0].status().restored, (await fetchFrom(client, server.ipv4, "GET", "/public")).code], [true, 200]);
    assert.equal((await fetchFrom(client, server.ipv4, "POST", "/public")).code, 403);
  });
});
