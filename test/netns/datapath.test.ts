import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { ask, dial, dialFrom, echo, type Family, RealNode, type RealPod, serve } from "./nodes.ts";
import { datagramProxy, TinyProxy } from "./tiny-proxy.ts";

const BULK = 16 * 1024 * 1024;
const [TCP, UDP] = [6, 17];
const INGRESS_PROXY = 10001;
const EGRESS_PROXY = 10002;
const DNS_PROXY = 10053;
const FROM_INGRESS_PROXY = 0xa00;
const FROM_EGRESS_PROXY = 0xb00;
const [CLIENT, SERVER] = [10001, 10002];

const families: readonly Family[] = ["ipv4", "ipv6"];
const DATAGRAM = new URL("datagram.pl", import.meta.url).pathname;
const PING = new URL("ping.pl", import.meta.url).pathname;
const any = { "0": "0.0.0.0", "1": "::" } as const;

describe("real traffic through the programs", () => {
  let nodes: [RealNode, RealNode];
  let client: RealPod;
  let near: RealPod;
  let far: RealPod;
  let proxies: TinyProxy[];
  const servers: AsyncDisposable[] = [];

  before(async () => {
    const prefix = `cbpf${process.pid}`;
    nodes = [new RealNode(prefix, 1), new RealNode(prefix, 2)];
    RealNode.connect(...nodes);
    for (const node of nodes) node.start();
    client = nodes[0].addPod("a", CLIENT);
    near = nodes[0].addPod("b", SERVER);
    far = nodes[1].addPod("c", SERVER);
    for (const node of nodes) node.learn(nodes);
    for (const pod of [near, far]) {
      for (const host of Object.values(any)) {
        servers.push(await serve(pod.netns, pod.name, host, 80), await echo(pod.netns, host, 53));
      }
    }
    for (const host of Object.values(any)) servers.push(await serve(nodes[0].netns, "host", host, 8080));
    proxies = nodes.map((node) => new TinyProxy(node));
    for (const proxy of proxies) {
      await proxy.listen(INGRESS_PROXY, FROM_INGRESS_PROXY);
      await proxy.listen(EGRESS_PROXY, FROM_EGRESS_PROXY);
    }
  });

  after(async () => {
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
    for (const node of nodes) node[Symbol.dispose]();
  });

  const reset = (): void => {
    for (const pod of [client, near, far]) pod.node.maps.setPolicy(pod, {});
    for (const proxy of proxies) proxy.seen.length = 0;
  };
  const pods = (): readonly (readonly [string, RealPod])[] => [
    ["the same node", near],
    ["another node", far],
  ];
  const talk = async (to: RealPod, family: Family): Promise<string> => {
    const socket = await dial(client.netns, to[family], 80);
    const answer = await ask(socket, "hello");
    socket.destroy();
    return answer;
  };
  const datagramTo = async (address: string, port: number, size: number, ttl = 64): Promise<string> => {
    const args = [`--net=${client.netns.path}`, "perl", DATAGRAM, address, String(port), String(size), String(ttl)];
    return (await promisify(execFile)("nsenter", args)).stdout.trim();
  };
  const ping = (from: RealPod, address: string): boolean => {
    try {
      execFileSync("nsenter", [`--net=${from.netns.path}`, "perl", PING, address], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  };

  for (const family of families) {
    for (const index of [0, 1]) {
      const where = index === 0 ? "the same node" : "another node";
      const target = (): RealPod => (pods()[index] as readonly [string, RealPod])[1];

      it(`TCP and ping reach a pod of ${where}: ${family}`, async () => {
        reset();
        assert.equal(await talk(target(), family), `${target().name}:${client[family]}:hello`);
        assert.ok(ping(client, target()[family]));
      });

      it(`datagrams reach ${where}, in fragments too, and its errors come back through a closed policy: ${family}`, async () => {
        reset();
        client.node.maps.setPolicy(client, { ingress: [], egress: [{ peer: SERVER, protocol: UDP }] });
        assert.equal(await datagramTo(target()[family], 53, 100), "100");
        assert.equal(await datagramTo(target()[family], 53, 5000), "5000");
        assert.equal(await datagramTo(target()[family], 9, 100), "Connection refused");
        assert.match(await datagramTo(target()[family], 53, 100, 1), /^No route to host$/);
      });

      it(`egress L7 by UDP to ${where}: ${family}`, async () => {
        reset();
        const to = target();
        client.node.maps.setPolicy(client, { egress: [{ protocol: UDP, port: 53, proxyPort: DNS_PROXY }] });
        await using proxy = await datagramProxy(client.node, to[family], FROM_EGRESS_PROXY);
        assert.equal(await datagramTo(to[family], 53, 100), "100");
        assert.deepEqual(proxy.seen, [client[family]]);
      });

      it(`a lot of bytes go through whole: ${where}, ${family}`, async () => {
        reset();
        const to = target();
        for (const proxied of [false, true]) {
          client.node.maps.setPolicy(client, proxied ? { egress: [{ protocol: TCP, port: 80, proxyPort: EGRESS_PROXY }] } : {});
          const socket = await dial(client.netns, to[family], 80);
          // The server answers every chunk with a longer one: what matters is that as much as was sent has been seen and answered.
          let received = 0;
          const all = new Promise<void>((resolve, reject) => {
            socket.on("close", () => reject(new Error(`closed after ${received} bytes`)));
            socket.on("data", (chunk: Buffer) => {
              received += chunk.length;
              if (received >= BULK) resolve();
            });
          });
          socket.write(Buffer.alloc(BULK, "x"));
          await all;
          socket.removeAllListeners("close");
          socket.destroy();
        }
      });

      it(`a denied connection to ${where} does not come about, and a revoked one stops both ways: ${family}`, async () => {
        reset();
        const to = target();
        to.node.maps.setPolicy(to, { ingress: [] });
        await assert.rejects(dial(client.netns, to[family], 80, 300), /timeout/);
        to.node.maps.setPolicy(to, { ingress: [{ peer: CLIENT, protocol: TCP, port: 80 }] });
        const socket = await dial(client.netns, to[family], 80, 3000);
        assert.match(await ask(socket, "x"), /:x$/);
        to.node.maps.setPolicy(to, { ingress: [] });
        await assert.rejects(ask(socket, "y", 300), /timeout/);
        socket.destroy();
      });

      it(`ingress L7 at ${where}: the server still sees the client's address: ${family}`, async () => {
        reset();
        const to = target();
        to.node.maps.setPolicy(to, { ingress: [{ protocol: TCP, port: 80, proxyPort: INGRESS_PROXY }] });
        assert.equal(await talk(to, family), `${to.name}:${client[family]}:hello`);
        assert.deepEqual(proxies[index]?.seen, [`${client[family]}>${to[family]}:80`]);
      });

      it(`egress L7 to ${where}: ${family}`, async () => {
        reset();
        const to = target();
        client.node.maps.setPolicy(client, { egress: [{ protocol: TCP, port: 80, proxyPort: EGRESS_PROXY }] });
        assert.equal(await talk(to, family), `${to.name}:${client[family]}:hello`);
        assert.deepEqual(proxies[0]?.seen, [`${client[family]}>${to[family]}:80`]);
      });

      it(`L7 on both sides, ${where}: a client may use a port again whose last connection the proxies ended: ${family}`, async () => {
        reset();
        const to = target();
        client.node.maps.setPolicy(client, { egress: [{ protocol: TCP, port: 80, proxyPort: EGRESS_PROXY }] });
        to.node.maps.setPolicy(to, { ingress: [{ protocol: TCP, port: 80, proxyPort: INGRESS_PROXY }] });
        for (const line of ["once", "again"]) {
          const socket = await dialFrom(client.netns, client[family], 25_000 + index, to[family], 80);
          assert.equal(await ask(socket, line, 3000), `${to.name}:${client[family]}:${line}`);
          const closed = once(socket, "close");
          for (const proxy of proxies) proxy.hangUp();
          await closed;
        }
      });

      it(`L7 on both sides, ${where}: each proxy sees it once: ${family}`, async () => {
        reset();
        const to = target();
        client.node.maps.setPolicy(client, { egress: [{ protocol: TCP, port: 80, proxyPort: EGRESS_PROXY }] });
        to.node.maps.setPolicy(to, { ingress: [{ protocol: TCP, port: 80, proxyPort: INGRESS_PROXY }] });
        assert.equal(await talk(to, family), `${to.name}:${client[family]}:hello`);
        const line = `${client[family]}>${to[family]}:80`;
        assert.deepEqual(
          proxies.map(({ seen }) => seen),
          index === 0 ? [[line, line], []] : [[line], [line]],
        );
      });
    }

    it(`the node reaches its pod and the pod its node: ${family}`, async () => {
      reset();
      near.node.maps.setPolicy(near, { ingress: [{ peer: 1 }] });
      const down = await dial(nodes[0].netns, near[family], 80);
      assert.equal(await ask(down, "probe"), `b:${nodes[0][family]}:probe`);
      down.destroy();
      const up = await dial(client.netns, nodes[0][family], 8080);
      assert.match(await ask(up, "hi"), /^host:/);
      up.destroy();
    });

    it(`the node reaches its pod through ingress L7: ${family}`, async () => {
      reset();
      near.node.maps.setPolicy(near, { ingress: [{ protocol: TCP, port: 80, proxyPort: INGRESS_PROXY }] });
      const socket = await dial(nodes[0].netns, near[family], 80);
      assert.match(await ask(socket, "probe"), /^b:.*:probe$/);
      socket.destroy();
      assert.equal(proxies[0]?.seen.length, 1);
    });

    it(`a connection that becomes L7 while open is reset, and its successor goes through the proxy: ${family}`, async () => {
      reset();
      const socket = await dial(client.netns, near[family], 80);
      await ask(socket, "direct");
      client.node.maps.setPolicy(client, { egress: [{ protocol: TCP, port: 80, proxyPort: EGRESS_PROXY }] });
      await assert.rejects(ask(socket, "more", 1500), /closed/);
      assert.match(await talk(near, family), /^b:/);
      assert.equal(proxies[0]?.seen.length, 1);
    });
  }
});
