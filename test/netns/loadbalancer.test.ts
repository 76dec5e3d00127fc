import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { Direction, DropReason } from "#datapath/gen/enums.ts";
import type { Netns } from "#sys/netns.ts";
import type { ServiceSpec } from "../../bpf/tests/service-maps.ts";
import { Lan } from "./lan.ts";
import { ask, dial, type Family } from "./nodes.ts";
import { callTcp, callUdp } from "./service-traffic.ts";
import { CLUSTER_IP, makeServiceWorld, type Place, type ServiceWorld, TARGET } from "./service-world.ts";
import { TinyProxy } from "./tiny-proxy.ts";

const [TCP, UDP] = [6, 17];
const WORLD = 2;
const [PORT, NODE_PORT] = [80, 30080];
const [PROXY, FROM_INGRESS_PROXY] = [10001, 0xa00];
const PARALLEL = 1000;
/** Fewer than the listeners that `ask` may leave on a socket before Node warns. */
const ROUNDS = 8;
const PATIENCE_MS = 20_000;
const DATAGRAM = new URL("datagram.pl", import.meta.url).pathname;
const families: readonly Family[] = ["ipv4", "ipv6"];

describe("services with real traffic", () => {
  let all: ServiceWorld;

  before(async () => {
    all = await makeServiceWorld(`clb${process.pid}`);
    all.lan.takeFromDriver(all.nodes[0]);
    for (const { netns } of [all.world, all.pods.far, all.nodes[1]]) Lan.finishChecksums(netns);
  });

  after(() => all[Symbol.asyncDispose]());

  /** The one service there is, on both nodes and for both protocols. */
  const define = (at: Place, port: number, family: Family, backends: readonly Place[], flags: ServiceSpec["flags"] & object = []) => {
    for (const { services } of all.nodes) {
      services.clear();
      for (const protocol of [TCP, UDP])
        services.set({ ip: at[family], port, protocol, backends: backends.map((one) => ({ ip: one[family], port: TARGET })), flags });
    }
    for (const pod of Object.values(all.pods)) pod.node.maps.setPolicy(pod, {});
  };
  /** One socket's datagrams: the number of bytes that came back to each, or what the network said. */
  const datagramsTo = async (netns: Netns, at: Place, port: number, family: Family, sizes: readonly number[]): Promise<string[]> => {
    const args = [`--net=${netns.path}`, "perl", DATAGRAM, at[family], String(port), sizes.join(), "64"];
    return (await promisify(execFile)("nsenter", args)).stdout.trim().split("\n");
  };

  for (const family of families) {
    it(`DSR: the backend sees the caller, and its node answers past the first one: ${family}`, async () => {
      const [first, last] = all.nodes;
      define(first, NODE_PORT, family, [all.pods.far], ["ROUTABLE", "NODE_PORT", "DSR"]);
      const expected = { server: "far", client: all.world[family] };
      assert.deepEqual(await callTcp(all.world.netns, first[family], NODE_PORT), expected);
      assert.deepEqual(await callUdp(all.world.netns, first[family], NODE_PORT, 100), expected);
      assert.equal(first.services.nat.keys().length, 0);
      assert.equal(last.services.nat.keys().length, 2);
      // With DSR's option the long ones are longer than the link allows, and so is the first part of what comes in fragments. None is lost.
      const long = family === "ipv4" ? 1470 : 1440;
      for (const sizes of [
        [100, long, 100],
        [long, 100, long],
        [5000, 100, long],
      ]) {
        const heard = sizes.map((size) => String(size + `far>${all.world[family]}>`.length));
        assert.deepEqual(await datagramsTo(all.world.netns, first, NODE_PORT, family, sizes), heard);
      }
      assert.equal(first.counted(DropReason.FRAGMENTATION_NEEDED, Direction.INGRESS), 0);
      assert.equal(first.services.nat.keys().length, 0);
    });

    for (const mode of ["generic", "native"] as const) {
      it(`at the driver (${mode}): calls, answers, DSR and fragments as without it: ${family}`, async () => {
        const [first] = all.nodes;
        const taken = () => first.counted(0, Direction.SERVICE);
        first.accelerate(mode);
        try {
          for (const flags of [["ROUTABLE"], ["ROUTABLE", "DSR"]] as const) {
            define(first, NODE_PORT, family, [all.pods.far], flags);
            const before = taken();
            const socket = await dial(all.world.netns, first[family], NODE_PORT, PATIENCE_MS);
            for (let i = 0; i < ROUNDS; i++) assert.ok((await ask(socket, `<${i}>`, PATIENCE_MS)).endsWith(`:<${i}>`));
            socket.destroy();
            assert.ok(taken() - before >= ROUNDS, `the driver's program took ${taken() - before}`);
            for (const size of [100, 5000]) assert.equal((await callUdp(all.world.netns, first[family], NODE_PORT, size)).server, "far");
          }
        } finally {
          first.accelerate(undefined);
        }
      });
    }

    it(`ingress L7 of a backend behind a node port: the proxy's answers come from the service: ${family}`, async () => {
      const { near } = all.pods;
      await using proxy = new TinyProxy(near.node);
      await proxy.listen(PROXY, FROM_INGRESS_PROXY);
      define(near.node, NODE_PORT, family, [near], ["ROUTABLE", "NODE_PORT"]);
      near.node.maps.setPolicy(near, { ingress: [{ peer: WORLD, protocol: TCP, port: TARGET, proxyPort: PROXY }] });
      assert.deepEqual(await callTcp(all.world.netns, near.node[family], NODE_PORT), { server: "near", client: all.world[family] });
      assert.equal(proxy.seen.length, 1);
    });

    it(`a service without backends is refused at once: ${family}`, async () => {
      for (const [netns, at, port] of [
        [all.client.netns, CLUSTER_IP, PORT],
        [all.world.netns, all.nodes[0], NODE_PORT],
      ] as const) {
        define(at, port, family, [], ["ROUTABLE"]);
        await assert.rejects(callTcp(netns, at[family], port), /ECONNREFUSED/);
        await assert.rejects(callUdp(netns, at[family], port, 100), /ECONNREFUSED/);
      }
    });

    it(`${PARALLEL} connections at a time, and no byte of one in another: ${family}`, async () => {
      const [first] = all.nodes;
      define(first, NODE_PORT, family, [all.pods.near, all.pods.far], ["ROUTABLE", "NODE_PORT"]);
      const sockets = await Promise.all(
        Array.from({ length: PARALLEL }, () => dial(all.world.netns, first[family], NODE_PORT, PATIENCE_MS)),
      );
      const answers = await Promise.all(sockets.map((socket, i) => ask(socket, `<${i}>`, PATIENCE_MS)));
      for (const socket of sockets) socket.destroy();
      for (const [i, answer] of answers.entries()) assert.ok(answer.endsWith(`:<${i}>`), `${i}: ${answer}`);
      for (const name of ["near", "far"]) {
        const share = answers.filter((answer) => answer.startsWith(name)).length;
        assert.ok(share > PARALLEL / 4, `${name} got ${share}`);
      }
    });
  }
});
