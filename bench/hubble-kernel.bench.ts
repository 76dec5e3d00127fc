import type { DatapathConfig } from "#datapath/gen/config.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { demoNames } from "#hubble/fixtures.ts";
import { startObserver } from "#hubble/observer/observer.ts";
import { createBootClock } from "#monitor/decode.ts";
import { startMonitorStream } from "#monitor/stream.ts";
import { buildPacket } from "#packet/build.ts";
import { silentLogger } from "#runtime/logger.ts";
import { boottimeNs } from "#sys/clock.ts";
import { addressToBytes } from "#types/addr.ts";
import { macToBytes } from "#types/mac.ts";
import { type Datapath, openDatapath } from "../bpf/tests/harness.ts";
import { ACK, CLIENT, SERVER, TCP, tcp } from "../bpf/tests/words.ts";
import { loadFor, RealNode, type RealPod } from "../test/netns/nodes.ts";
import { startClient, startServer } from "./probe/pingpong.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const [NONE, MEDIUM] = [0, 3];
const OFF: Partial<DatapathConfig> = { monitorAggregation: MEDIUM, eventsDrop: 0, eventsPolicyVerdict: 0, eventsTrace: 0 };
const PORT = 5998;
/** Short and many: on a busy machine some of them have both processors for themselves. */
const PAIRS = 100;
const GIB = 2 ** 30;

/** Each run takes a hop off the packet; one call must end before they are used up. */
const REPEAT = 240;
const CALLS = 600;
/** So many calls' records fit into the ring. */
const UNREAD = 40;
/** Without aggregation: where the packet comes in, and where it goes on. */
const RECORDS_A_PACKET = 2;

/** The datapath with one connection through both pods' policies, to be run packet by packet. */
class Bench implements AsyncDisposable {
  readonly #datapath: Datapath;
  readonly #frame: Uint8Array;
  readonly #ifindex: number;
  readonly times: number[] = [];

  constructor(config: Partial<DatapathConfig>) {
    this.#datapath = openDatapath(config);
    const rules = [CLIENT, SERVER].map((peer) => ({ peer, protocol: TCP, port: 80, cookie: 1 }));
    const client = this.#datapath.addPod("client", CLIENT, { egress: rules });
    const server = this.#datapath.addPod("server", SERVER, { ingress: rules });
    // The frame that is handed over is the next run's input: let its sender be the client, too.
    const key = { bytes: addressToBytes(server.ipv4) };
    const info = this.#datapath.maps.lxc.get(key);
    if (info) this.#datapath.maps.lxc.set(key, { ...info, nodeMac: macToBytes(client.mac) });
    const spec = tcp(client, server, "ipv4", [40_000, 80], ACK);
    const ethernet = { source: client.mac, destination: client.nodeMac };
    this.#frame = buildPacket({ ...spec, ip: { ...spec.ip, ttl: 255 }, ethernet });
    this.#ifindex = client.ifindex;
  }

  run(): void {
    const input = { ifindex: this.#ifindex, ingressIfindex: this.#ifindex, repeat: REPEAT };
    this.times.push(this.#datapath.runFast("cil_from_container", this.#frame, input).durationNs);
  }

  /** Reads what has been reported. */
  async settle(): Promise<void> {
    await this.#datapath.settle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#datapath[Symbol.asyncDispose]();
  }
}

async function packets(): Promise<Row[]> {
  // The harness finds the end of what was reported by a drop.
  const stay = { eventsDrop: 1 };
  await using off = new Bench({ ...OFF, ...stay });
  await using medium = new Bench({ monitorAggregation: MEDIUM });
  await using none = new Bench({ monitorAggregation: NONE });
  const all = [off, medium, none];
  for (let call = 0; call < CALLS; call++) {
    for (const bench of call % 2 ? all : all.toReversed()) bench.run();
    if (call % UNREAD === 0) for (const bench of all) await bench.settle();
  }
  const [without, usual, every] = all.map(({ times }) => quantile(times, 0.1)) as [number, number, number];
  const peer = { unit: "ns", peer: without, peerName: "off" };
  return [
    {
      name: "hubble-kernel/record",
      unit: "ns",
      ours: (every - without) / RECORDS_A_PACKET,
      note: "one record made, of 128 bytes captured",
    },
    { name: "hubble-kernel/packet", ours: usual, ...peer, note: "that makes no record: of a connection reported on already" },
    { name: "hubble-kernel/packet-all", ours: every, ...peer, note: "no aggregation: two records a packet" },
  ];
}

/** Hubble as an agent has it, at the ring of a node's datapath. */
function observe(node: RealNode) {
  const observer = startObserver({ names: demoNames(), log: silentLogger, version: "bench" });
  const stream = startMonitorStream({
    openRing: (onBatch) => openBpf().openRing(node.object.ringMap("cilium_events"), onBatch),
    readLost: () => 0n,
    push: (event) => observer.push(event),
    clock: createBootClock(boottimeNs),
  });
  return { flows: () => observer.ring.written, [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose]() };
}

/** One connection between two pods of a node, both under policies; its packets meet the one or the other programs, which share all maps. */
async function traffic(progress: (text: string) => void): Promise<Row[]> {
  const prefix = `cbench${process.pid}`;
  using node = new RealNode(prefix, 1);
  using other = new RealNode(prefix, 2);
  RealNode.connect(node, other);
  node.start();
  const rules = [CLIENT, SERVER].map((peer) => ({ peer, protocol: TCP, port: PORT, cookie: 1 }));
  const client = node.addPod("c", CLIENT, { egress: rules });
  const server = node.addPod("s", SERVER, { ingress: rules });
  node.learn([node]);
  await using hubble = observe(node);
  const programs = { on: node.object, off: loadFor("bpf_lxc", OFF, node.object) };
  const use = (which: keyof typeof programs) => node.exchange(programs[which]);
  const enter = ({ netns }: RealPod) => ["nsenter", `--net=${netns.path}`];
  const alternate = async (options: { readonly bytes: number; readonly rounds: number }) => {
    await using _server = await startServer(enter(server), PORT, options.bytes);
    await using connection = startClient(enter(client), server.ipv4, PORT, options);
    await connection.measure();
    const times = { on: [] as number[], off: [] as number[] };
    for (let pair = 0; pair < PAIRS; pair++) {
      for (const which of pair % 2 ? (["on", "off"] as const) : (["off", "on"] as const)) {
        use(which);
        times[which].push(await connection.measure());
      }
    }
    return { ours: quantile(times.on, 0.25), peer: quantile(times.off, 0.25) };
  };
  progress("round trips");
  const trip = await alternate({ bytes: 64, rounds: 500 });
  progress("throughput");
  const bulk = await alternate({ bytes: GIB / 64, rounds: 1 });
  programs.off.close();
  if (hubble.flows() === 0) throw new Error("nothing was reported");
  const per = ({ ours, peer }: typeof bulk) => ({ ours: (ours * 64) / 1000, peer: (peer * 64) / 1000 });
  return [
    { name: "hubble-kernel/round-trip", unit: "us", ...trip, peerName: "off", goal: 1.02, note: "64 bytes of TCP, pod to pod" },
    {
      name: "hubble-kernel/throughput",
      unit: "ms a GiB",
      ...per(bulk),
      peerName: "off",
      goal: 1.02,
      note: "one TCP connection, pod to pod",
    },
  ];
}

/** What the datapath's reports cost, at the default aggregation: programs that report against programs that do not, alternating. */
export const benchmark: Benchmark = {
  name: "hubble-kernel",
  about: "visibility on against off: nanoseconds a record and a packet, round trip and throughput between two pods",
  run: async (progress) => [...(await packets()), ...(await traffic(progress))],
};
