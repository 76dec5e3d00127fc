import { spawnSync } from "node:child_process";
import { createClient } from "@connectrpc/connect";
import { Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { event as eventCodec } from "#datapath/gen/structs.ts";
import { openConnection } from "#hubble/client/transport.ts";
import { DEATHSTAR, demoNames, TIEFIGHTER, tcpPacket } from "#hubble/fixtures.ts";
import { type Observer, startObserver } from "#hubble/observer/observer.ts";
import { formatSocketAddress } from "#hubble/server/address.ts";
import { startHubbleServer } from "#hubble/server/hubble.ts";
import { createPeerTable } from "#hubble/server/peers.ts";
import { decodeRecord } from "#monitor/decode.ts";
import { silentLogger } from "#runtime/logger.ts";
import type { Benchmark, Row } from "./row.ts";

const EVENTS = 40_000;
const ROUNDS = 7;
const BOOT_NS = 1_781_443_542_102_000_000n;

/** Records as the datapath writes them: two traces, an allowed and a denied verdict. */
function records(): Uint8Array[] {
  const packet = tcpPacket();
  const make = (type: number, verdict: number) => {
    const record = Buffer.alloc(eventCodec.size);
    const data = new Uint8Array(128);
    data.set(packet);
    const ends = { lxcId: DEATHSTAR.id, dstLxcId: DEATHSTAR.id, srcId: TIEFIGHTER.identity, dstId: DEATHSTAR.identity };
    const where = { direction: 1, ifindex: 12, hash: 1, line: 0, file: 0, extError: 0, ctReason: 0, flags: 1, subtype: 0, matchType: 2 };
    eventCodec.encode({ type, verdict, cookie: 7, lenOrig: 74, capLen: packet.length, ktime: 1n, data, ...ends, ...where }, record, 0);
    return record;
  };
  return [make(4, 0), make(5, 0), make(4, 0), make(5, -133)];
}

/** Processor time of this process, microseconds: repeats better than wall time on a shared machine. */
function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function flowCost(observer: Observer): number {
  const inputs = records();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = cpuMicroseconds();
    for (let i = 0; i < EVENTS; i++) {
      const event = decodeRecord(inputs[i % inputs.length] ?? new Uint8Array(), (ktime) => ktime + BOOT_NS);
      if (event !== undefined) observer.push(event);
    }
    best = Math.min(best, (cpuMicroseconds() - start) / EVENTS);
  }
  return best;
}

async function streamCost(observer: Observer): Promise<number> {
  await using server = await startHubbleServer({ observer, peers: createPeerTable(), log: silentLogger }, { listen: ["127.0.0.1:0"] });
  const [address] = server.addresses;
  if (address === undefined) throw new Error("the server listens nowhere");
  using connection = openConnection({ server: formatSocketAddress(address) });
  const client = createClient(ObserverService, connection.transport);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = cpuMicroseconds();
    let count = 0;
    for await (const _ of client.getFlows({})) count++;
    best = Math.min(best, (cpuMicroseconds() - start) / count);
  }
  return best;
}

/** How long `hubble` takes to find out that nobody answers: everything but the answer. */
function startMilliseconds(): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    spawnSync("bin/hubble", ["status", "--server", "unix:///nonexistent.sock"]);
    return performance.now() - start;
  });
  return Math.min(...times);
}

export const benchmark: Benchmark = {
  name: "hubble",
  about: "flows: from the datapath's record to the ring, and through gRPC; start of the command line",
  async run() {
    const observer = startObserver({ names: demoNames(), log: silentLogger, version: "bench" });
    const rows: Row[] = [
      { name: "record to flow in the ring", unit: "us of CPU", ours: flowCost(observer), goal: 20 },
      { name: "flow through gRPC, server and client in one process", unit: "us of CPU", ours: await streamCost(observer), goal: 60 },
      { name: "start of the hubble command", unit: "ms", ours: startMilliseconds(), goal: 250 },
    ];
    return rows;
  },
};
