import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { closeBpf } from "#sys/bpf.ts";
import { createMap } from "../bpf/tests/kernel.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const WRITER = new URL("probe/ring-writer.ts", import.meta.url).pathname;
const RINGBUF = 27;
const ROUNDS = 6;
const RECORDS = 100_000;
/** Room for what two processors write in one go, as nobody reads. */
const RING_BYTES = 64 * 1024 * 1024;
const FIRST_DESCRIPTOR = 3;
/** A record and its header. */
const RECORD_BYTES = 200;
const SOON_NS = 100_000_000n;

/** A process on one processor that writes records, and has the shared rings as descriptors from 3 on. */
function startWriter(cpu: number, rings: readonly number[]) {
  const command = ["-c", String(cpu), "chrt", "-r", "1", process.execPath, WRITER, String(RING_BYTES)];
  const child = spawn("taskset", command, { stdio: ["pipe", "pipe", "inherit", ...rings] });
  const [input, output] = [child.stdin, child.stdout];
  if (input === null || output === null) throw new Error("the writer has no pipes");
  const lines = createInterface({ input: output })[Symbol.asyncIterator]();
  return {
    async say(line: string): Promise<number> {
      input.write(`${line}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error("the writer has ended");
      return Number(value);
    },
    async [Symbol.asyncDispose]() {
      input.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

type Writer = ReturnType<typeof startWriter>;

/** Nanoseconds a record, of the slowest of those who begin at the same time. */
async function write(writers: readonly Writer[], records = RECORDS): Promise<number> {
  const at = process.hrtime.bigint() + SOON_NS;
  return Math.max(...(await Promise.all(writers.map((writer) => writer.say(`go ${records} ${at}`)))));
}

/**
 * What a drop with its record costs a processor: alone, beside another one with a ring of its own, and beside one with the same
 * ring, while there is room and when there is none.
 */
export const benchmark: Benchmark = {
  name: "hubble-rings",
  about: "nanoseconds a drop and its record, when two processors write without a pause: one ring against a ring each",
  async run(progress): Promise<Row[]> {
    const rings = Array.from({ length: ROUNDS }, () => createMap(RINGBUF, 0, 0, RING_BYTES));
    await using left = startWriter(0, rings);
    await using right = startWriter(1, rings);
    const both = [left, right];
    const times = {
      alone: [] as number[],
      own: [] as number[],
      shared: [] as number[],
      ownFull: [] as number[],
      sharedFull: [] as number[],
    };
    for (const round of rings.keys()) {
      progress(`round ${round + 1} of ${ROUNDS}`);
      await left.say("0");
      times.alone.push(await write([left]));
      for (const [which, full, descriptor] of [
        ["own", "ownFull", 0],
        ["shared", "sharedFull", FIRST_DESCRIPTOR + round],
      ] as const) {
        await Promise.all(both.map((writer) => writer.say(String(descriptor))));
        times[which].push(await write(both));
        await write(both, RING_BYTES / RECORD_BYTES);
        times[full].push(await write(both));
      }
    }
    for (const ring of rings) closeBpf(ring);
    const row = (name: string, ours: keyof typeof times, peer: keyof typeof times, peerName: string, note: string): Row => {
      return {
        name: `hubble-rings/${name}`,
        unit: "ns",
        ours: quantile(times[ours], 0.5),
        peer: quantile(times[peer], 0.5),
        peerName,
        note,
      };
    };
    return [
      row("shared", "shared", "own", "a ring each", "two processors at once, until the ring is full"),
      row("full", "sharedFull", "ownFull", "a ring each", "the same when it is"),
      row("beside", "own", "alone", "one alone", "a ring each: what the other processor's work costs"),
    ];
  },
};
