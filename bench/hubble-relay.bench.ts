import { createClient } from "@connectrpc/connect";
import { Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { openConnection } from "#hubble/client/transport.ts";
import { demoNames, packetEvent } from "#hubble/fixtures.ts";
import { startObserver } from "#hubble/observer/observer.ts";
import { peerServiceSource } from "#hubble/relay/peer-service.ts";
import { startRelay } from "#hubble/relay/relay.ts";
import { formatSocketAddress, type SocketAddress } from "#hubble/server/address.ts";
import { startHubbleServer } from "#hubble/server/hubble.ts";
import { createPeerTable } from "#hubble/server/peers.ts";
import { silentLogger } from "#runtime/logger.ts";
import { cpuMicroseconds } from "./probe/flow-records.ts";
import type { Benchmark } from "./row.ts";

const NODES = 50;
const FLOWS = 400;
const ROUNDS = 5;
const MILLISECOND = 1_000_000n;

const listen = ["127.0.0.1:0"];

function textOf([address]: readonly SocketAddress[]): string {
  if (address === undefined) throw new Error("it listens nowhere");
  return formatSocketAddress(address);
}

export const benchmark: Benchmark = {
  name: "hubble-relay",
  about: "the flows of 50 nodes merged by one relay, in the order of time; nodes, relay and client in one process",
  async run() {
    await using scope = new AsyncDisposableStack();
    const peers = createPeerTable();
    const log = silentLogger;
    const nodes: { name: string; address: string }[] = [];
    for (let index = 0; index < NODES; index++) {
      const name = `node-${index}`;
      const observer = startObserver({ names: demoNames({ nodeName: name }), log, version: "bench" });
      const start = BigInt(Date.now()) * MILLISECOND - BigInt(FLOWS * NODES) * MILLISECOND;
      for (let i = 0; i < FLOWS; i++) observer.push(packetEvent({ time: start + BigInt(i * NODES + index) * MILLISECOND }));
      const server = scope.use(await startHubbleServer({ observer, peers, log }, { listen }));
      nodes.push({ name, address: textOf(server.addresses) });
    }
    peers.set(nodes);
    const source = peerServiceSource({ log }, nodes[0]?.address ?? "");
    const relay = scope.use(await startRelay({ peers: source, log, version: "bench" }, { listen }));
    const connection = scope.use(openConnection({ server: textOf(relay.addresses) }));
    const client = createClient(ObserverService, connection.transport);
    while ((await client.serverStatus({})).numConnectedNodes !== NODES) await new Promise((resolve) => setTimeout(resolve, 20));
    let best = { cpu: Number.POSITIVE_INFINITY, wrong: 0, missing: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const cpu = cpuMicroseconds();
      let [count, wrong, last] = [0, 0, 0n];
      for await (const { responseTypes, time } of client.getFlows({ number: BigInt(FLOWS) })) {
        if (responseTypes.case !== "flow") continue;
        const at = (time?.seconds ?? 0n) * 1000n + BigInt(Math.floor((time?.nanos ?? 0) / 1e6));
        if (at < last) wrong++;
        last = at;
        count++;
      }
      const each = (cpuMicroseconds() - cpu) / count;
      if (each < best.cpu) best = { cpu: each, wrong, missing: NODES * FLOWS - count };
    }
    return [
      { name: "a flow of one of 50 nodes, through relay to client", unit: "us of CPU", ours: best.cpu, note: "all ends in one process" },
      { name: "flows out of order or missing", unit: `of ${NODES * FLOWS}`, ours: best.wrong + best.missing, goal: 0 },
    ];
  },
};
