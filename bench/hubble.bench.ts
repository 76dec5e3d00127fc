import { spawnSync } from "node:child_process";
import { toBinary } from "@bufbuild/protobuf";
import { type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { demoNames } from "#hubble/fixtures.ts";
import { type Observer, startObserver } from "#hubble/observer/observer.ts";
import { createEncoder } from "#hubble/wire/encoder.ts";
import { silentLogger } from "#runtime/logger.ts";
import { cpuMicroseconds, pushRecords } from "./probe/flow-records.ts";
import { type Streamed, streamFlows } from "./probe/flow-stream.ts";
import type { Benchmark, Row } from "./row.ts";

const EVENTS = 40_000;
const ROUNDS = 7;
const STREAMED = 200_000;

function best(measure: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = cpuMicroseconds();
    measure();
    least = Math.min(least, (cpuMicroseconds() - start) / EVENTS);
  }
  return least;
}

/** Of the last flows in the ring: two traces, an allowed and a denied verdict. */
function encodeCost({ ring }: Observer): { readonly ours: number; readonly theirs: number } {
  const flows = [1, 2, 3, 4].flatMap((back): Flow[] => {
    const entry = ring.at(ring.written - back);
    return entry?.kind === "flow" ? [entry.flow] : [];
  });
  const encoder = createEncoder<Flow>(FlowSchema);
  const each = (encode: (flow: Flow) => unknown) => () => {
    for (let i = 0; i < EVENTS / flows.length; i++) for (const flow of flows) encode(flow);
  };
  return { ours: best(each((flow) => encoder.encode(flow))), theirs: best(each((flow) => toBinary(FlowSchema, flow))) };
}

async function quickest(): Promise<Streamed> {
  const runs: Streamed[] = [];
  for (let round = 0; round < 3; round++) {
    runs.push(await streamFlows(startObserver({ names: demoNames(), log: silentLogger, version: "bench" }), STREAMED));
  }
  return runs.toSorted((a, b) => a.seconds - b.seconds)[0] as Streamed;
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
  about: "flows: from the datapath's record to the ring and to a client of another process; start of the command line",
  async run() {
    const observer = startObserver({ names: demoNames(), log: silentLogger, version: "bench" });
    const made = best(() => pushRecords(observer, EVENTS));
    const encode = encodeCost(observer);
    const { seconds, lost, cpuUs } = await quickest();
    const rows: Row[] = [
      { name: "record to flow in the ring", unit: "us of CPU", ours: made, goal: 8 },
      { name: "a flow as bytes", unit: "us of CPU", ours: encode.ours, peer: encode.theirs, peerName: "protobuf-es", goal: 0.5 },
      { name: "record to the socket of a client that follows", unit: "us of CPU", ours: cpuUs / STREAMED, goal: 10 },
      {
        name: "the same, as time between flows",
        unit: "us",
        ours: (seconds / STREAMED) * 1e6,
        goal: 10,
        note: `${lost} of ${STREAMED} lost`,
      },
      { name: "start of the hubble command", unit: "ms", ours: startMilliseconds(), goal: 250 },
    ];
    return rows;
  },
};
