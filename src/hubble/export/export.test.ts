import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { silentLogger } from "#runtime/logger.ts";
import { DEMO_TIME, demoNames, packetEvent } from "../fixtures.ts";
import { type Observer, startObserver } from "../observer/observer.ts";
import { FLOW_LOG_DEFAULTS, type FlowLogConfig, startFlowLog } from "./exporter.ts";
import { parseFilterList, parseFlowLogs, startFlowLogs } from "./flow-logs.ts";
import { createRotatingFile } from "./rotating-file.ts";

const scratch = () => mkdtempSync(join(tmpdir(), "export-"));
const observe = (): Observer => startObserver({ names: demoNames(), log: silentLogger, version: "v1" });

function config(filePath: string, changes: Partial<FlowLogConfig> = {}): FlowLogConfig {
  const rest = { fieldMask: [], includeFilters: [], excludeFilters: [], end: undefined };
  return { name: "all", filePath, ...FLOW_LOG_DEFAULTS, ...rest, ...changes };
}

function pushBoth(observer: Observer): void {
  observer.push(packetEvent({ time: DEMO_TIME }));
  observer.push(packetEvent({ type: "drop", subtype: 133, time: DEMO_TIME }));
}

function linesOf(file: string): { flow?: Record<string, unknown>; lost_events?: unknown; node_name?: string; time?: string }[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

describe("flow log", () => {
  it("writes each flow and each loss as an ExportEvent, in upstream's JSON", async () => {
    const file = join(scratch(), "deep/events.log");
    const observer = observe();
    await using log = startFlowLog(observer, silentLogger, config(file));
    pushBoth(observer);
    observer.push({ type: "lost", source: "kernel", count: 3, time: DEMO_TIME });
    await log[Symbol.asyncDispose]();
    const lines = linesOf(file);
    assert.deepEqual(
      lines.map(({ flow }) => flow?.verdict),
      ["FORWARDED", "DROPPED", undefined],
    );
    assert.deepEqual(Object.keys(lines[0] ?? {}), ["flow", "node_name", "time"]);
    assert.deepEqual(lines[2]?.lost_events, {
      source: "PERF_EVENT_RING_BUFFER",
      num_events_lost: "3",
      first: lines[0]?.time,
      last: lines[0]?.time,
    });
    assert.deepEqual(log.counts(), { written: 3, lost: 0 });
  });

  it("writes only the flows and the fields that are wanted, until its end", async () => {
    const directory = scratch();
    const observer = observe();
    const drops = parseFilterList("hubble-export-allowlist", '{"verdict":["DROPPED"]}');
    await using some = startFlowLog(
      observer,
      silentLogger,
      config(join(directory, "a"), { includeFilters: drops, fieldMask: ["verdict", "IP.source"] }),
    );
    await using none = startFlowLog(observer, silentLogger, config(join(directory, "b"), { end: Date.now() - 1 }));
    pushBoth(observer);
    await some[Symbol.asyncDispose]();
    await none[Symbol.asyncDispose]();
    const [line, ...others] = linesOf(join(directory, "a"));
    assert.equal(others.length, 0);
    assert.deepEqual(Object.keys(line?.flow ?? {}).sort(), ["IP", "verdict"]);
    assert(!existsSync(join(directory, "b")));
  });

  it("counts what cannot be written and goes on when it can again", async () => {
    const directory = scratch();
    const file = join(directory, "blocked/events.log");
    writeFileSync(join(directory, "blocked"), "not a directory");
    const observer = observe();
    await using log = startFlowLog(observer, silentLogger, config(file));
    pushBoth(observer);
    await until(() => log.counts().lost === 2);
    rmSync(join(directory, "blocked"));
    pushBoth(observer);
    await until(() => log.counts().written === 2);
    assert.equal(linesOf(file).length, 2);
  });

  it("sets full files aside, compresses them and keeps the newest", async () => {
    const directory = scratch();
    await using file = createRotatingFile({ path: join(directory, "e.log"), maxBytes: 10, maxBackups: 2, compress: true });
    for (const text of ["first 123", "second 12", "third 123", "fourth 12"]) {
      await file.append(text);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const names = readdirSync(directory).sort();
    assert.equal(readFileSync(join(directory, "e.log"), "utf8"), "fourth 12");
    assert.deepEqual(
      names.filter((name) => name !== "e.log").map((name) => gunzipSync(readFileSync(join(directory, name))).toString()),
      ["second 12", "third 123"],
    );
  });
});

describe("flow logs of a file", () => {
  const text = (...logs: string[]) => `flowLogs:\n${logs.map((log) => `- ${log}\n`).join("")}`;

  it("start, go on and end as the file says", async () => {
    const directory = scratch();
    const path = join(directory, "flowlogs.yaml");
    const observer = observe();
    writeFileSync(
      path,
      text(
        `{name: all, filePath: ${directory}/all.log}`,
        `{name: drops, filePath: ${directory}/drops.log, includeFilters: [{verdict: [DROPPED]}]}`,
      ),
    );
    await using logs = await startFlowLogs(observer, silentLogger, path);
    assert.deepEqual(logs.running(), ["all", "drops"]);
    pushBoth(observer);
    writeFileSync(path, text(`{name: all, filePath: ${directory}/all.log}`));
    await logs.reload();
    assert.deepEqual(logs.running(), ["all"]);
    assert.equal(linesOf(join(directory, "drops.log")).length, 1, "ending writes what waits");
    writeFileSync(path, text("{name: all, filePath: x, fieldMask: [nonsense]}"));
    await logs.reload();
    pushBoth(observer);
    await logs[Symbol.asyncDispose]();
    assert.equal(linesOf(join(directory, "all.log")).length, 4, "a bad file changes nothing");
  });

  for (const [bad, message] of [
    ["{filePath: x}", /flowLogs\[0\]\.name: is required/],
    ["{name: a, filePath: x, fileMaxSizeMb: big}", /flowLogs\[0\]\.fileMaxSizeMb: must be a number, found "big"/],
    ["{name: a, filePath: x, end: someday}", /flowLogs\[0\]\.end: "someday" is no time/],
    ["{name: a, filePath: x, includeFilters: [{verdikt: [DROPPED]}]}", /includeFilters.*verdikt/],
    ["{name: a, filePath: x, fieldMask: [IP.colour]}", /"IP.colour" is no field of flow.Flow|IP\.colour/],
    ["{name: a, filePath: x}\n- {name: a, filePath: y}", /flowLogs.name: "a" is used twice/],
  ] as const) {
    it(`refuses ${bad.replace("\n", " ")}`, () => {
      assert.throws(() => parseFlowLogs(text(bad)), message);
    });
  }

  it("reads filters of a flag one after the other or as a list", () => {
    const one = '{"source_pod":["a/b"]}';
    assert.equal(parseFilterList("x", `${one} ${one}\n${one}`).length, 3);
    assert.equal(parseFilterList("x", `[${one}]`).length, 1);
    assert.throws(() => parseFilterList("hubble-export-denylist", "{nonsense"), /hubble-export-denylist/);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("the condition did not come true within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
