import { demoNames } from "#hubble/fixtures.ts";
import { startObserver } from "#hubble/observer/observer.ts";
import { silentLogger } from "#runtime/logger.ts";
import { streamFlows } from "./probe/flow-stream.ts";
import type { Benchmark, Row } from "./row.ts";

/** Flows between two looks at the clock. */
const STRETCH = 250_000;
const MIB = 1024 * 1024;
/** Until then the ring fills, and the engine compiles and sizes its heap. */
const WARM_UP_SHARE = 0.2;

interface Sample {
  readonly at: number;
  readonly rss: number;
}

function mean(samples: readonly Sample[]): number {
  return samples.reduce((sum, { rss }) => sum + rss, 0) / samples.length / MIB;
}

export const benchmark: Benchmark = {
  name: "hubble-soak",
  about: "an agent's flows at full rate for --minutes (10): whether its memory stays flat",
  onlyByName: true,
  async run(progress, { minutes = 10 } = {}) {
    const observer = startObserver({ names: demoNames(), log: silentLogger, version: "bench" });
    const samples: Sample[] = [];
    const start = performance.now();
    const age = () => (performance.now() - start) / 60_000;
    const look = () => {
      const last = samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
      if (performance.now() - last >= 1000) samples.push({ at: performance.now(), rss: process.memoryUsage().rss });
    };
    let [flows, lost, seconds] = [0, 0, 0];
    while (age() < minutes) {
      const part = await streamFlows(observer, STRETCH, { during: look });
      [flows, lost, seconds] = [flows + part.flows, lost + part.lost, seconds + part.seconds];
      progress(`${age().toFixed(1)} min: ${flows} flows, ${lost} lost, ${Math.round((samples.at(-1)?.rss ?? 0) / MIB)} MiB`);
    }
    const steady = samples.filter(({ at }) => at - start > WARM_UP_SHARE * minutes * 60_000);
    const third = Math.floor(steady.length / 3);
    const [early, late] = [mean(steady.slice(0, third)), mean(steady.slice(-third))];
    const rows: Row[] = [
      { name: "memory, last third of the time", unit: "MiB", ours: late, peer: early, peerName: "the first third", goal: 1.1 },
      { name: "flows delivered", unit: "1/s", ours: flows / seconds },
      { name: "flows lost and reported", unit: "of all", ours: lost / (flows + lost) },
      { name: "flows not accounted for", unit: "flows", ours: observer.ring.written - flows - lost, goal: 0 },
    ];
    return rows;
  },
};
