import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import type { Netns } from "#sys/netns.ts";
import type { IpAddress } from "#types/addr.ts";
import type { End, ServiceSpec } from "../../bpf/tests/service-maps.ts";
import { Lan, type Stranger } from "./lan.ts";
import { ask, dial, echo, type Family, RealNode, type RealPod, serve, TinyProxy } from "./nodes.ts";

const [TCP, UDP] = [6, 17];
const [CLIENT, SERVER, WORLD] = [10001, 10002, 2];
const [PORT, NODE_PORT, TARGET, CLOSED] = [80, 30080, 8080, 9];
const [PROXY, FROM_INGRESS_PROXY] = [10001, 0xa00];
const PARALLEL = 1000;
/** Fewer than the listeners that `ask` may leave on a socket before Node warns. */
const ROUNDS = 8;
const DIRECTION_SERVICE = 3;
const DATAGRAM = new URL("datagram.pl", import.meta.url).pathname;
const families: readonly Family[] = ["ipv4", "ipv6"];

type Place = Readonly<Record<Family, IpAddress>>;
const place = (ipv4: string, ipv6: string): Place => ({ ipv4: ipv4 as IpAddress, ipv6: ipv6 as IpAddress });
const CLUSTER_IP = place("10.96.0.10", "fd00:10:96::10");
const BALANCER = place("192.0.2.10", "fd00:192::10");

describe("services with real traffic", () => {
  let lan: Lan;
  let nodes: [RealNode, RealNode];
  let client: RealPod;
  let near: RealPod;
  let far: RealPod;
  let world: Stranger;
  const servers: AsyncDisposable[] = [];

  before(async () => {
    const prefix = `clb${process.pid}`;
    lan = new Lan(prefix);
    nodes = [new RealNode(prefix, 1), new RealNode(prefix, 2)];
    lan.join(nodes);
    for (const node of nodes) node.start();
    client = nodes[0].addPod("a", CLIENT);
    near = nodes[0].addPod("b", SERVER);
    far = nodes[1].addPod("c", SERVER);
    for (const node of nodes) node.learn(nodes);
    world = lan.addStranger(nodes[0], [BALANCER.ipv4, BALANCER.ipv6, CLUSTER_IP.ipv4, CLUSTER_IP.ipv6]);
    for (const [name, netns] of [
      ["near", near.netns],
      ["far", far.netns],
      ["self", client.netns],
      ["host", nodes[0].netns],
    ] as const) {
      for (const host of ["0.0.0.0", "::"]) servers.push(await serve(netns, name, host, TARGET), await echo(netns, host, TARGET));
    }
  });

  after(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    for (const node of nodes) node[Symbol.dispose]();
    lan[Symbol.dispose]();
  });

  const reset = () => {
    for (const node of nodes) node.services.clear();
    for (const pod of [client, near, far]) pod.node.maps.setPolicy(pod, {});
  };
  const end = (at: Place, family: Family, port: number): End => ({ ip: at[family], port });
  /** The same service on both nodes, for both protocols. */
  const define = (at: Place, port: number, family: Family, backends: readonly Place[], more: Partial<ServiceSpec> = {}) => {
    for (const node of nodes) {
      for (const protocol of [TCP, UDP])
        node.services.set({ ...end(at, family, port), protocol, backends: backends.map((one) => end(one, family, TARGET)), ...more });
    }
  };
  const talk = async (netns: Netns, at: Place, port: number, family: Family): Promise<string> => {
    const socket = await dial(netns, at[family], port);
    const answer = await ask(socket, "hello");
    socket.destroy();
    return answer;
  };
  const datagramTo = async (netns: Netns, at: Place, port: number, family: Family, size: number): Promise<string> => {
    const args = [`--net=${netns.path}`, "perl", DATAGRAM, at[family], String(port), String(size), "64"];
    return (await promisify(execFile)("nsenter", args)).stdout.trim();
  };
  /** TCP, and UDP in one piece and in fragments, work; the server's name and whom it saw. */
  const works = async (netns: Netns, at: Place, port: number, family: Family): Promise<string> => {
    assert.equal(await datagramTo(netns, at, port, family, 100), "100");
    assert.equal(await datagramTo(netns, at, port, family, 5000), "5000");
    return (await talk(netns, at, port, family)).replace("::ffff:", "").replace(/:hello$/, "");
  };

  for (const family of families) {
    it(`ClusterIP from a pod: to the same node, another, the node itself, the pod itself: ${family}`, async () => {
      for (const [name, at, seen] of [
        ["near", near, client],
        ["far", far, client],
        ["host", nodes[0], client],
      ] as const) {
        reset();
        define(CLUSTER_IP, PORT, family, [at]);
        assert.equal(await works(client.netns, CLUSTER_IP, PORT, family), `${name}:${seen[family]}`);
      }
      reset();
      define(CLUSTER_IP, PORT, family, [client]);
      client.node.maps.setPolicy(client, { ingress: [], egress: [] });
      const loopback = family === "ipv4" ? "169.254.42.1" : "fd00:169:254:42::1";
      assert.ok((await works(client.netns, CLUSTER_IP, PORT, family)).startsWith(`self:${loopback}`));
    });

    it(`node port, load balancer and external address from the world, backends here and there: ${family}`, async () => {
      for (const [at, port, flag] of [
        [nodes[0], NODE_PORT, "NODE_PORT"],
        [BALANCER, PORT, "LOAD_BALANCER"],
        [BALANCER, PORT + 1, "EXTERNAL_IP"],
      ] as const) {
        for (const [name, backend, seen] of [
          ["near", near, world],
          ["far", far, nodes[0]],
          ["host", nodes[0], world],
        ] as const) {
          reset();
          define(at, port, family, [backend], { flags: ["ROUTABLE", flag] });
          assert.equal(await works(world.netns, at, port, family), `${name}:${seen[family]}`, `${flag} ${name}`);
        }
      }
    });

    it(`a node port of another node, from a pod: ${family}`, async () => {
      for (const [name, backend, seen] of [
        ["far", far, client],
        ["near", near, nodes[1]],
      ] as const) {
        reset();
        define(nodes[1], NODE_PORT, family, [backend], { flags: ["ROUTABLE", "NODE_PORT"] });
        // Each node has only its own addresses among its frontends.
        nodes[0].services.clear();
        assert.equal(await works(client.netns, nodes[1], NODE_PORT, family), `${name}:${seen[family]}`);
      }
    });

    it(`DSR: the backend sees the caller, and its node answers past the first one: ${family}`, async () => {
      reset();
      define(nodes[0], NODE_PORT, family, [far], { flags: ["ROUTABLE", "NODE_PORT", "DSR"] });
      const before = nodes[0].services.nat.keys().length;
      assert.equal(
        await talk(world.netns, nodes[0], NODE_PORT, family).then((text) => text.replace("::ffff:", "")),
        `far:${world[family]}:hello`,
      );
      assert.equal(await datagramTo(world.netns, nodes[0], NODE_PORT, family, 100), "100");
      assert.equal(nodes[0].services.nat.keys().length, before);
      // With DSR's option this is longer than the link allows.
      assert.equal(await datagramTo(world.netns, nodes[0], NODE_PORT, family, family === "ipv4" ? 1470 : 1440), "Message too long");
      assert.equal(nodes[1].services.nat.keys().length, 2);
    });

    it(`at the driver: calls, answers and DSR as without it: ${family}`, async () => {
      nodes[0].accelerate("generic");
      try {
        for (const flags of [["ROUTABLE"], ["ROUTABLE", "DSR"]] as const) {
          reset();
          define(nodes[0], NODE_PORT, family, [far], { flags });
          const before = nodes[0].counted(0, DIRECTION_SERVICE);
          const socket = await dial(world.netns, nodes[0][family], NODE_PORT);
          for (let i = 0; i < ROUNDS; i++) assert.ok((await ask(socket, `<${i}>`)).endsWith(`:<${i}>`));
          socket.destroy();
          assert.ok(nodes[0].counted(0, DIRECTION_SERVICE) - before >= ROUNDS, "the driver's program took them");
          assert.equal(await datagramTo(world.netns, nodes[0], NODE_PORT, family, 100), "100");
        }
      } finally {
        nodes[0].accelerate(undefined);
      }
    });

    it(`policy of the backend knows the world: ${family}`, async () => {
      reset();
      define(nodes[0], NODE_PORT, family, [near], { flags: ["ROUTABLE", "NODE_PORT"] });
      near.node.maps.setPolicy(near, { ingress: [{ peer: WORLD, protocol: TCP, port: TARGET }] });
      assert.equal((await talk(world.netns, nodes[0], NODE_PORT, family)).replace("::ffff:", ""), `near:${world[family]}:hello`);
      near.node.maps.setPolicy(near, { ingress: [{ peer: CLIENT, protocol: TCP, port: TARGET }] });
      await assert.rejects(talk(world.netns, nodes[0], NODE_PORT, family), /timeout/);
    });

    it(`ingress L7 of a backend behind a node port: the proxy's answers come from the service: ${family}`, async () => {
      reset();
      await using proxy = new TinyProxy(nodes[0]);
      await proxy.listen(PROXY, FROM_INGRESS_PROXY);
      define(nodes[0], NODE_PORT, family, [near], { flags: ["ROUTABLE", "NODE_PORT"] });
      near.node.maps.setPolicy(near, { ingress: [{ peer: WORLD, protocol: TCP, port: TARGET, proxyPort: PROXY }] });
      assert.equal((await talk(world.netns, nodes[0], NODE_PORT, family)).replace("::ffff:", ""), `near:${world[family]}:hello`);
      assert.equal(proxy.seen.length, 1);
    });

    it(`a closed port behind a service is refused, here and there: ${family}`, async () => {
      for (const backend of [near, far]) {
        reset();
        for (const [at, port] of [
          [CLUSTER_IP, PORT],
          [nodes[0], NODE_PORT],
        ] as const) {
          for (const protocol of [TCP, UDP])
            nodes[0].services.set({ ...end(at, family, port), protocol, backends: [end(backend, family, CLOSED)], flags: ["ROUTABLE"] });
        }
        for (const [netns, at, port] of [
          [client.netns, CLUSTER_IP, PORT],
          [world.netns, nodes[0], NODE_PORT],
        ] as const) {
          await assert.rejects(talk(netns, at, port, family), /ECONNREFUSED/);
          assert.equal(await datagramTo(netns, at, port, family, 100), "Connection refused");
        }
      }
    });

    it(`a service without backends is refused at once: ${family}`, async () => {
      reset();
      define(CLUSTER_IP, PORT, family, []);
      define(nodes[0], NODE_PORT, family, [], { flags: ["ROUTABLE"] });
      for (const [netns, at, port] of [
        [client.netns, CLUSTER_IP, PORT],
        [world.netns, nodes[0], NODE_PORT],
      ] as const) {
        await assert.rejects(talk(netns, at, port, family), /ECONNREFUSED/);
        assert.equal(await datagramTo(netns, at, port, family, 100), "Connection refused");
      }
    });

    it(`${PARALLEL} connections at a time, and no byte of one in another: ${family}`, async () => {
      reset();
      define(nodes[0], NODE_PORT, family, [near, far], { flags: ["ROUTABLE", "NODE_PORT"] });
      const sockets = await Promise.all(Array.from({ length: PARALLEL }, () => dial(world.netns, nodes[0][family], NODE_PORT, 20_000)));
      const answers = await Promise.all(sockets.map((socket, i) => ask(socket, `<${i}>`, 20_000)));
      for (const socket of sockets) socket.destroy();
      for (const [i, answer] of answers.entries()) assert.ok(answer.endsWith(`:<${i}>`), `${i}: ${answer}`);
      for (const name of ["near", "far"]) {
        const share = answers.filter((answer) => answer.startsWith(name)).length;
        assert.ok(share > PARALLEL / 4, `${name} got ${share}`);
      }
    });
  }
});
