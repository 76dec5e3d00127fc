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
import { type FlowLogs, parseFilterList, parseFlowLogs, startFlowLogs } from "./flow-logs.ts";
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
  const names = (logs: FlowLogs) => logs.status().logs.map(({ name }) => name);
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
    assert.deepEqual(names(logs), ["all", "drops"]);
    pushBoth(observer);
    writeFileSync(path, text(`{name: all, filePath: ${directory}/all.log}`));
    await logs.reload();
    assert.deepEqual(names(logs), ["all"]);
    assert.equal(linesOf(join(directory, "drops.log")).length, 1, "ending writes what waits");
    writeFileSync(path, text("{name: all, filePath: x, fieldMask: [nonsense]}"));
    await logs.reload();
    pushBoth(observer);
    await logs[Symbol.asyncDispose]();
    assert.equal(linesOf(join(directory, "all.log")).length, 4, "a bad file changes nothing");
  });

  it("tell how they do, and complain once about a file that is gone", async () => {
    const directory = scratch();
    const path = join(directory, "flowlogs.yaml");
    const problems: string[] = [];
    const log = { ...silentLogger, error: (message: string) => problems.push(message) };
    await using logs = await startFlowLogs(observe(), log, path);
    await logs.reload();
    assert.equal(problems.length, 1);
    writeFileSync(path, text("{name: old, filePath: x, end: 2020-01-01T00:00:00Z}", "{name: a, filePath: y}"));
    await logs.reload();
    writeFileSync(path, text("{name: a, filePath: z, fileMaxSizeMb: 0}"));
    await logs.reload();
    const { logs: running, reconfigurations, configHash, appliedAt } = logs.status();
    assert.deepEqual(running, [{ name: "a", active: true }]);
    assert.deepEqual(reconfigurations, { add: 2, update: 1, remove: 1 });
    assert(configHash > 0 && appliedAt > 1e9);
    assert.equal(
      parseFlowLogs(readFileSync(path, "utf8"))[0]?.fileMaxSizeMb,
      FLOW_LOG_DEFAULTS.fileMaxSizeMb,
      "0 is upstream's word for it",
    );
  });

  it("say at once which of them is past its end", async () => {
    const path = join(scratch(), "flowlogs.yaml");
    writeFileSync(path, text("{name: old, filePath: x, end: 2020-01-01T00:00:00Z}"));
    await using logs = await startFlowLogs(observe(), silentLogger, path);
    assert.deepEqual(logs.status().logs, [{ name: "old", active: false }]);
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
