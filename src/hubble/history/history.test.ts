import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Verdict } from "#api/gen/flow/flow_pb.ts";
import { silentLogger } from "#runtime/logger.ts";
import { DEMO_TIME, demoNames, packetEvent } from "../fixtures.ts";
import { type Entry, type Observer, startObserver } from "../observer/observer.ts";
import type { RangeRequest } from "../observer/range.ts";
import { readSince } from "../observer/since.ts";
import { emptyFlow } from "../parser/messages.ts";
import { type History, startHistory } from "./history.ts";
import { expired } from "./retention.ts";
import { startHistoryWriter } from "./writer.ts";

const SECOND = 1_000_000_000n;
const LIMITS = { maxBytes: 1e8, maxAgeMs: 1e9 };

interface World extends AsyncDisposable {
  readonly directory: string;
  readonly observer: Observer;
  readonly history: History;
}

/** A node whose ring holds seven flows, and a history. */
async function world(directory = mkdtempSync(join(tmpdir(), "history-")), limits = LIMITS): Promise<World> {
  const observer = startObserver({ names: demoNames(), log: silentLogger, version: "v1" }, { capacity: 7 });
  const history = await startHistory(observer, silentLogger, { directory, ...limits });
  return { directory, observer, history, [Symbol.asyncDispose]: () => history[Symbol.asyncDispose]() };
}

/** Pushes flows at these seconds after DEMO_TIME; the odd ones are drops. */
function push({ observer }: World, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const time = DEMO_TIME + BigInt(i) * SECOND;
    observer.push(i % 2 === 0 ? packetEvent({ time }) : packetEvent({ type: "drop", subtype: 133, time }));
  }
}

async function seconds({ observer, history }: World, request: Partial<RangeRequest>, onlyDrops = false): Promise<number[]> {
  const whole = { number: 0, first: false, follow: false, since: undefined, until: undefined, ...request };
  const matches = (entry: Entry) => entry.kind === "flow" && (!onlyDrops || entry.flow.verdict === Verdict.DROPPED);
  const found: number[] = [];
  for (const item of (await Array.fromAsync(readSince(observer.ring, history, whole, matches, new AbortController().signal))).flat()) {
    assert("entry" in item, "nothing was lost");
    if (item.entry.kind === "flow") found.push(Number((item.entry.time - DEMO_TIME) / SECOND));
  }
  return found;
}

const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

describe("flow history", () => {
  it("gives what the ring has forgotten, each flow once and in order", async () => {
    await using node = await world();
    push(node, 0, 40);
    assert.deepEqual(await seconds(node, {}), upTo(33, 40), "without a time: the ring");
    assert.deepEqual(await seconds(node, { since: DEMO_TIME }), upTo(0, 40));
    assert.deepEqual(await seconds(node, { since: DEMO_TIME + 20n * SECOND, until: DEMO_TIME + 35n * SECOND }), upTo(20, 36));
    assert.deepEqual(await seconds(node, { since: DEMO_TIME + 36n * SECOND }), upTo(36, 40), "all of it in the ring");
  });

  it("gives the newest or the first of them", async () => {
    await using node = await world();
    push(node, 0, 40);
    assert.deepEqual(await seconds(node, { since: DEMO_TIME, number: 10 }), upTo(30, 40));
    assert.deepEqual(await seconds(node, { since: DEMO_TIME, number: 3 }), upTo(37, 40));
    assert.deepEqual(await seconds(node, { since: DEMO_TIME, number: 5, first: true }), upTo(0, 5));
    assert.deepEqual(await seconds(node, { since: DEMO_TIME, number: 36, first: true }), upTo(0, 36), "across the border to the ring");
    assert.deepEqual(await seconds(node, { since: DEMO_TIME, number: 6 }, true), [29, 31, 33, 35, 37, 39]);
  });

  it("survives a restart, and a record that a crash tore", async () => {
    const first = await world();
    push(first, 0, 10);
    await first[Symbol.asyncDispose]();
    const [segment] = readdirSync(first.directory);
    assert(segment);
    appendFileSync(join(first.directory, segment), Buffer.from([200, 0, 0, 0, 0, 1, 2]));
    await using second = await world(first.directory);
    push(second, 10, 30);
    assert.deepEqual(await seconds(second, { since: DEMO_TIME }), upTo(0, 30));
    assert.equal((await second.history.status()).oldest, DEMO_TIME);
  });

  it("finds what leaves the ring while the history is being read", async () => {
    await using node = await world();
    push(node, 0, 20);
    const request = { number: 0, first: false, follow: false, since: DEMO_TIME, until: undefined };
    const found: number[] = [];
    let pushed = false;
    for await (const batch of readSince(node.observer.ring, node.history, request, () => true, new AbortController().signal)) {
      for (const item of batch) {
        assert("entry" in item, "nothing was lost");
        found.push(Number((item.entry.time - DEMO_TIME) / SECOND));
      }
      if (!pushed) push(node, 20, 50);
      pushed = true;
    }
    assert.deepEqual(found, upTo(0, 50));
  });

  it("keeps reports of losses", async () => {
    await using node = await world();
    push(node, 0, 1);
    node.observer.push({ type: "lost", source: "kernel", count: 3, time: DEMO_TIME });
    push(node, 1, 20);
    const kinds: string[] = [];
    const range = { since: 0n, until: undefined, from: 0, to: 20, matches: () => true, signal: new AbortController().signal };
    for await (const entry of node.history.read(range)) kinds.push(entry.kind);
    assert.equal(kinds[1], "lost");
  });

  it("stays within its size, the oldest going first", async () => {
    await using node = await world(undefined, { maxBytes: 40_000, maxAgeMs: 1e9 });
    for (let i = 0; i < 20; i++) {
      push(node, i * 40, (i + 1) * 40);
      await node.history.status();
      await seconds(node, { since: DEMO_TIME + BigInt((i + 1) * 40 - 20) * SECOND });
    }
    const { bytes } = await node.history.status();
    assert(bytes <= 40_000 * (1 + 2 / 16) + 30_000, `${bytes} bytes are kept`);
    const kept = await seconds(node, { since: DEMO_TIME });
    assert.deepEqual(kept, upTo(kept[0] ?? 0, 800), "what is kept has no holes");
    assert((kept[0] ?? 0) > 0);
  });

  it("removes what is too old", () => {
    const segment = (writtenMs: number, bytes = 10) => ({ writtenMs, bytes });
    const segments = [segment(0), segment(500), segment(1000), segment(2000)];
    assert.deepEqual(expired(segments, { maxBytes: 100, maxAgeMs: 1000 }, 2000), segments.slice(0, 2));
    assert.deepEqual(expired(segments, { maxBytes: 25, maxAgeMs: 1e6 }, 2000), segments.slice(0, 2));
    assert.deepEqual(expired(segments, { maxBytes: 1, maxAgeMs: 1 }, 9000), segments.slice(0, 3), "the newest stays");
  });

  it("tells those who read it what the disk did not take, to the flow, also after a restart", async () => {
    const node = await world();
    const away = `${node.directory}.away`;
    renameSync(node.directory, away);
    push(node, 0, 20);
    const gap = async ({ observer, history }: World) => {
      const request = { number: 0, first: false, follow: false, since: DEMO_TIME, until: undefined };
      const items = (await Array.fromAsync(readSince(observer.ring, history, request, () => true, new AbortController().signal))).flat();
      const told = items.flatMap((item) => ("entry" in item && item.entry.kind === "lost" ? [Number(item.entry.event.numEventsLost)] : []));
      return { told, flows: items.filter((item) => "entry" in item && item.entry.kind === "flow").length };
    };
    assert.deepEqual(await gap(node), { told: [13], flows: 7 }, "what is still in the ring is not missing yet");
    renameSync(away, node.directory);
    push(node, 20, 40);
    assert.deepEqual(await gap(node), { told: [20], flows: 20 });
    await node[Symbol.asyncDispose]();
    await using second = await world(node.directory);
    assert.deepEqual(await gap(second), { told: [20], flows: 20 });
    assert.equal(second.history.lost(), 0, "which this run did not lose");
  });

  it("counts what the disk does not take and goes on, with room for drops to the last", async () => {
    const directory = mkdtempSync(join(tmpdir(), "history-"));
    await using writer = await startHistoryWriter(silentLogger, { directory, ...LIMITS, maxWaiting: 8 });
    const flow = (time: bigint) => ({ kind: "flow" as const, time, flow: emptyFlow(time) });
    for (let i = 0; i < 10; i++) writer.take(i, flow(BigInt(i)), false);
    for (let i = 10; i < 14; i++) writer.take(i, flow(BigInt(i)), true);
    assert.deepEqual(writer.counts(), { written: 0, lost: 6 }, "six forwards wait, then two drops");
    rmSync(directory, { recursive: true });
    await writer.flush();
    assert.deepEqual(writer.counts(), { written: 0, lost: 14 });
  });
});
