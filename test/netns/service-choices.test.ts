import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Direction, DropReason } from "#datapath/gen/enums.ts";
import type { Program } from "#ebpf/bpf.ts";
import type { Netns } from "#sys/netns.ts";
import { listener, spoofedStream } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import type { ServiceSpec } from "../../bpf/tests/service-maps.ts";
import { ask, dial, type Family, type RealNode } from "./nodes.ts";
import { callTcp, callUdp, isCounted } from "./service-traffic.ts";
import { ANY, BALANCER, CLUSTER_IP, makeServiceWorld, type Place, type ServiceWorld, TARGET } from "./service-world.ts";

const [TCP, UDP] = [6, 17];
const [PORT, NODE_PORT, CLOSING_TARGET, SOURCE_PORT] = [80, 30080, 8081, 40_001];
const PATIENCE_MS = 20_000;
const PARALLEL = 1000;
const NAT_PORTS = 16;
const STATS = "/proc/sys/kernel/bpf_stats_enabled";
const families: readonly Family[] = ["ipv4", "ipv6"];

describe("what services promise", () => {
  let all: ServiceWorld;
  let sockets: readonly Program[];
  const closing: Server[] = [];

  before(async () => {
    // Callers of remote backends get one of 16 ports, and connections that were reset are forgotten after a second.
    all = await makeServiceWorld(`csc${process.pid}`, { natPortMin: 20_000, natPortMax: 20_000 + NAT_PORTS - 1, ctLifetimeClose: 1 });
    sockets = all.socketPrograms;
    for (const { netns } of [all.pods.near, all.pods.far])
      for (const host of Object.values(ANY)) closing.push(await serveOnce(netns, host));
  });

  after(async () => {
    for (const server of closing) server.close();
    await all[Symbol.asyncDispose]();
  });

  /** Answers one question and is the first to close. */
  async function serveOnce(netns: Netns, host: string): Promise<Server> {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end("bye"));
    });
    await new Promise<void>((resolve) => server.listen({ fd: listener({ host, port: CLOSING_TARGET, netns }) }, resolve));
    return server;
  }

  const clear = () => {
    for (const { services } of all.nodes) services.clear();
  };
  /** The service at this node, or at both; the fewer words, the more is default: TCP, one scope. */
  const define = (
    on: readonly RealNode[],
    at: Place,
    port: number,
    family: Family,
    backends: readonly Place[],
    { targetPort = TARGET, protocol = TCP, ...more }: Partial<ServiceSpec> & { readonly targetPort?: number } = {},
  ) => {
    for (const { services } of on)
      services.set({ ip: at[family], port, protocol, backends: backends.map((one) => ({ ip: one[family], port: targetPort })), ...more });
  };
  const server = async (netns: Netns, at: Place, port: number, family: Family) => (await callTcp(netns, at[family], port)).server;
  /** The world's call to the balancer's address is dropped at the first node, for that reason. */
  const isDropped = (family: Family, reason: number) =>
    isCounted(
      (signal) => callTcp(all.world.netns, BALANCER[family], PORT, signal),
      () => all.nodes[0].counted(reason, Direction.INGRESS),
    );
  /** An hour goes by for the clients that the first node remembers. */
  const anHourLater = () => {
    const { affinity } = all.nodes[0].services;
    for (const key of affinity.keys()) {
      const entry = affinity.get(key);
      if (entry) affinity.set(key, { ...entry, lastUsed: entry.lastUsed - 3_601_000_000_000n });
    }
  };

  for (const family of families) {
    it(`externalTrafficPolicy: Local keeps the caller's address, is silent without a backend here, and leaves pods all backends: ${family}`, async () => {
      clear();
      const { near, far } = all.pods;
      const local = { flags: ["ROUTABLE", "LOAD_BALANCER", "EXTERNAL_LOCAL", "TWO_SCOPES"] } as const;
      define(all.nodes, BALANCER, PORT, family, [near, far], { scope: 1 });
      define(all.nodes, BALANCER, PORT, family, [near], local);
      assert.deepEqual(await callTcp(all.world.netns, BALANCER[family], PORT), { server: "near", client: all.world[family] });
      define(all.nodes, BALANCER, PORT, family, [], local);
      await isDropped(family, DropReason.SERVICE_BACKEND_NOT_FOUND);
      const seen = new Set<string>();
      while (seen.size < 2) seen.add(await server(all.client.netns, BALANCER, PORT, family));
      assert.deepEqual([...seen].sort(), ["far", "near"]);
    });

    it(`internalTrafficPolicy: Local: pods get this node's backend or are refused, the world gets all: ${family}`, async () => {
      clear();
      const flags = ["ROUTABLE", "LOAD_BALANCER", "TWO_SCOPES"] as const;
      define(all.nodes, BALANCER, PORT, family, [all.pods.near], { scope: 1 });
      define(all.nodes, BALANCER, PORT, family, [all.pods.far], { flags });
      const fromPod = () => server(all.client.netns, BALANCER, PORT, family);
      assert.equal(await fromPod(), "near");
      assert.equal(await all.cgroup.within(fromPod), "near");
      assert.equal(await server(all.world.netns, BALANCER, PORT, family), "far");
      define(all.nodes, BALANCER, PORT, family, [], { scope: 1 });
      await assert.rejects(fromPod(), /ECONNREFUSED/);
      await assert.rejects(all.cgroup.within(fromPod), /ECONNREFUSED/);
    });

    it(`loadBalancerSourceRanges hold the world, with NAT, DSR and at the driver, and no pod: ${family}`, async () => {
      const { world } = all;
      const bits = family === "ipv4" ? 32 : 128;
      for (const extra of [[], ["DSR"]] as const) {
        for (const driver of [undefined, "generic"] as const) {
          all.nodes[0].accelerate(driver);
          clear();
          const flags = ["ROUTABLE", "LOAD_BALANCER", "SOURCE_RANGES", ...extra] as const;
          define(all.nodes, BALANCER, PORT, family, [all.pods.far], { flags, sourceRanges: [[world[family], bits]] });
          assert.equal(await server(world.netns, BALANCER, PORT, family), "far");
          clear();
          define(all.nodes, BALANCER, PORT, family, [all.pods.far], { flags, sourceRanges: [[all.nodes[1][family], bits]] });
          await isDropped(family, DropReason.DENIED_BY_LB_SRC_RANGE_CHECK);
          assert.equal(await server(all.client.netns, BALANCER, PORT, family), "far");
          define(all.nodes, BALANCER, PORT, family, [all.pods.far], { flags: [...flags, "SOURCE_RANGES_DENY"] });
          assert.equal(await server(world.netns, BALANCER, PORT, family), "far");
        }
      }
      all.nodes[0].accelerate(undefined);
    });

    it(`sessionAffinity keeps a client for its timeout, by packet and by socket: ${family}`, async () => {
      const { near, far } = all.pods;
      const ways: readonly [string, () => Promise<string>][] = [
        ["world", () => server(all.world.netns, BALANCER, PORT, family)],
        ["pod", () => server(all.client.netns, BALANCER, PORT, family)],
        ["pod's socket", () => all.cgroup.within(() => server(all.client.netns, BALANCER, PORT, family))],
      ];
      for (const [who, call] of ways) {
        clear();
        define(all.nodes, BALANCER, PORT, family, [near, far], { flags: ["ROUTABLE"], affinitySeconds: 3600 });
        const first = await call();
        for (let i = 0; i < 8; i++) assert.equal(await call(), first, who);
        // Sooner or later chance has it another way.
        do anHourLater();
        while ((await call()) === first);
      }
    });

    it(`ports begin again after FIN and after RST, at once and as often as one likes: ${family}`, async () => {
      const once = async (netns: Netns, source: IpAddress, to: IpAddress, port: number, reset: boolean) => {
        const socket = new Socket({ fd: spoofedStream({ source, sourcePort: SOURCE_PORT, netns }) });
        const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
        await new Promise<void>((resolve, reject) => {
          socket.setTimeout(PATIENCE_MS, () => reject(new Error("timeout")));
          socket.once("error", reject);
          socket.connect(port, to, resolve);
        });
        assert.match(await ask(socket, "hello", PATIENCE_MS), reset ? /:hello$/ : /^bye$/);
        if (reset) socket.resetAndDestroy();
        await closed;
      };
      for (const [netns, source, at, port, backend, flags] of [
        [all.client.netns, all.client, CLUSTER_IP, PORT, all.pods.near, []],
        [all.client.netns, all.client, CLUSTER_IP, PORT, all.pods.far, []],
        [all.world.netns, all.world, all.nodes[0], NODE_PORT, all.pods.near, ["ROUTABLE"]],
        [all.world.netns, all.world, all.nodes[0], NODE_PORT, all.pods.far, ["ROUTABLE"]],
        [all.world.netns, all.world, all.nodes[0], NODE_PORT, all.pods.far, ["ROUTABLE", "DSR"]],
      ] as const) {
        for (const reset of [false, true]) {
          clear();
          define(all.nodes, at, port, family, [backend], { flags, targetPort: reset ? TARGET : CLOSING_TARGET });
          for (let i = 0; i < 6; i++) await once(netns, source[family], at[family], port, reset);
        }
      }
    });

    it(`who finds no free port is dropped and counted, nobody else; a port that is given back is used: ${family}`, async () => {
      clear();
      define(all.nodes, all.nodes[0], NODE_PORT, family, [all.pods.far], { flags: ["ROUTABLE"] });
      define(all.nodes, all.nodes[0], NODE_PORT + 1, family, [all.nodes[1]], { flags: ["ROUTABLE"] });
      define(all.nodes, all.nodes[0], NODE_PORT + 2, family, [all.pods.near], { flags: ["ROUTABLE"] });
      const open = () => dial(all.world.netns, all.nodes[0][family], NODE_PORT, PATIENCE_MS);
      const connections = await Promise.all(Array.from({ length: NAT_PORTS }, open));
      const refused = () => all.nodes[0].counted(DropReason.NO_MAPPING_FOR_NAT_MASQUERADE, Direction.INGRESS);
      const before = refused();
      const late = open();
      while (refused() === before) await Promise.race([late, sleep(2)]);
      for (const [i, socket] of connections.entries()) assert.match(await ask(socket, `<${i}>`, PATIENCE_MS), new RegExp(`:<${i}>$`));
      assert.equal(await server(all.world.netns, all.nodes[0], NODE_PORT + 1, family), "other");
      assert.equal(await server(all.world.netns, all.nodes[0], NODE_PORT + 2, family), "near");
      connections.pop()?.resetAndDestroy();
      const socket = await late;
      assert.match(await ask(socket, "late", PATIENCE_MS), /^far:.*:late$/);
      for (const one of [...connections, socket]) one.resetAndDestroy();
    });

    it(`${PARALLEL} connections of a pod, and through DSR, and no byte of one in another: ${family}`, async () => {
      const { near, far } = all.pods;
      const many = async (netns: Netns, at: Place, port: number) => {
        const open = await Promise.all(Array.from({ length: PARALLEL }, () => dial(netns, at[family], port, PATIENCE_MS)));
        const answers = await Promise.all(open.map((socket, i) => ask(socket, `<${i}>`, PATIENCE_MS)));
        for (const socket of open) socket.resetAndDestroy();
        for (const [i, answer] of answers.entries()) assert.ok(answer.endsWith(`:<${i}>`), `${i}: ${answer}`);
        for (const name of ["near", "far"]) assert.ok(answers.filter((answer) => answer.startsWith(name)).length > PARALLEL / 4, name);
      };
      clear();
      define(all.nodes, CLUSTER_IP, PORT, family, [near, far]);
      define(all.nodes, all.nodes[0], NODE_PORT, family, [near, far], { flags: ["ROUTABLE", "DSR"] });
      await many(all.client.netns, CLUSTER_IP, PORT);
      await all.cgroup.within(() => many(all.client.netns, CLUSTER_IP, PORT));
      await many(all.world.netns, all.nodes[0], NODE_PORT);
    });

    it(`after connect() no program runs at the socket: ${family}`, async () => {
      clear();
      for (const protocol of [TCP, UDP]) define(all.nodes, CLUSTER_IP, PORT, family, [all.pods.far], { protocol });
      const enabled = readFileSync(STATS, "utf8");
      writeFileSync(STATS, "1");
      try {
        const runs = () => sockets.reduce((sum, program) => sum + runsOf(program), 0);
        await all.cgroup.within(async () => {
          const begun = runs();
          const socket = await dial(all.client.netns, CLUSTER_IP[family], PORT, PATIENCE_MS);
          const connected = runs();
          assert.ok(connected > begun, "connect() runs one");
          for (let i = 0; i < 100; i++) assert.match(await ask(socket, `<${i}>`, PATIENCE_MS), new RegExp(`:<${i}>$`));
          assert.equal(runs(), connected);
          socket.destroy();
          await callUdp(all.client.netns, CLUSTER_IP[family], PORT, 100);
        });
      } finally {
        writeFileSync(STATS, enabled);
      }
    });
  }
});

/** How often the kernel has run a program while `kernel.bpf_stats_enabled` was on. */
function runsOf(program: Program): number {
  return Number(/^run_cnt:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${program.fd}`, "utf8"))?.[1]);
}
