import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createBackoff, sleep } from "./backoff.ts";
import { errorMessage } from "./errors.ts";
import { defineFlags, formatHelp, readFlags, unusedSettings } from "./flags.ts";
import { createHealth } from "./health.ts";
import { startJob } from "./job.ts";
import { createLogger, silentLogger } from "./logger.ts";
import { createMetrics, serveMetrics } from "./metrics.ts";

const flags = defineFlags({
  "config-dir": { type: "string", default: "", help: "Directory of a mounted ConfigMap." },
  "enable-ipv6": { type: "boolean", default: false, help: "Use IPv6." },
  "gc-interval": { type: "duration", default: 60_000, help: "Time between two collections." },
  "bpf-policy-map-max": { type: "number", default: 16384, help: "Entries of a policy map." },
  devices: { type: "list", default: [], help: "Network devices." },
  "lock-count": { type: "unused", default: "", help: "There are no locks." },
});

describe("readFlags", () => {
  it("takes the command line before the environment before the ConfigMap before the default", () => {
    const directory = mkdtempSync(join(tmpdir(), "flags-"));
    try {
      writeFileSync(join(directory, "enable-ipv6"), "true\n");
      writeFileSync(join(directory, "bpf-policy-map-max"), "1");
      writeFileSync(join(directory, "somebody-elses-key"), "x");
      const env = { CILIUM_CONFIG_DIR: directory, CILIUM_BPF_POLICY_MAP_MAX: "2", CILIUM_GC_INTERVAL: "1m30s" };
      const values = readFlags(flags, ["--devices=eth0,eth1"], env);
      assert.equal(values["enable-ipv6"], true);
      assert.equal(values["bpf-policy-map-max"], 2);
      assert.equal(values["gc-interval"], 90_000);
      assert.deepEqual(values.devices, ["eth0", "eth1"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
  it("takes a boolean with and without a value", () => {
    assert.equal(readFlags(flags, ["--enable-ipv6"], {})["enable-ipv6"], true);
    assert.equal(readFlags(flags, ["--enable-ipv6=false"], {})["enable-ipv6"], false);
  });
  it("names the flag and what is allowed when a value does not fit", () => {
    assert.throws(() => readFlags(flags, ["--gc-interval=soon"], {}), /--gc-interval: found "soon", a duration such as/);
    assert.throws(() => readFlags(flags, ["--enable-ipv6=maybe"], {}), /--enable-ipv6: found "maybe", allowed are true and false/);
    assert.throws(() => readFlags(flags, ["--nosuch"], {}), /Unknown option '--nosuch'/);
  });
  it("takes what has no effect here, however it is written, and says why it has none", () => {
    const read = (...args: string[]) => unusedSettings(flags, readFlags(flags, args, {}));
    assert.deepEqual(read("--enable-ipv6"), {});
    for (const args of [["--lock-count"], ["--lock-count=131"], ["--lock-count", "131"], ["--lock-count", "--enable-ipv6"]])
      assert.deepEqual(read(...args), { "lock-count": "There are no locks." }, args.join(" "));
    assert.match(formatHelp("agent", "Runs.", flags), /without effect here:\n {2}--lock-count +There are no locks\.\n$/);
  });
  it("prints a help with defaults", () => {
    assert.match(formatHelp("agent", "Runs.", flags), /--gc-interval duration +Time between two collections\. \(default 60s\)/);
  });
});

describe("createBackoff", () => {
  it("doubles up to the longest time and starts over after a success", () => {
    const backoff = createBackoff({ initial: 10, max: 35, jitter: 0 });
    assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [10, 20, 35, 35]);
    backoff.reset();
    assert.equal(backoff.next(), 10);
  });
});

describe("sleep", () => {
  it("ends at once when the signal has aborted", async () => {
    await sleep(60_000, AbortSignal.abort());
  });
});

describe("createLogger", () => {
  it("writes one JSON object a line, and nothing below its level", () => {
    const lines: string[] = [];
    const log = createLogger("agent", { level: "info", write: (line) => lines.push(line) }).child("ipam");
    log.debug("no");
    log.warn("pool is full", { pool: "10.0.0.0/24" });
    assert.equal(lines.length, 1);
    const { time, ...rest } = JSON.parse(lines[0] ?? "");
    assert.ok(Date.parse(time));
    assert.deepEqual(rest, { level: "warn", subsys: "agent/ipam", pool: "10.0.0.0/24", msg: "pool is full" });
  });
});

describe("startJob", () => {
  it("retries a failing task and reports its health", async () => {
    const health = createHealth();
    let runs = 0;
    const run = async () => {
      runs += 1;
      if (runs < 3) throw new Error("not yet");
    };
    await using job = startJob({ log: silentLogger, health }, { name: "sync", run, retry: { initial: 1, max: 2 } });
    await job.done;
    assert.equal(runs, 3);
    assert.deepEqual(
      health.list().map(({ name, level }) => [name, level]),
      [["sync", "stopped"]],
    );
  });
});

describe("serveMetrics", () => {
  it("serves the registry at /metrics only", async () => {
    const registry = await createMetrics();
    const { Counter } = await import("prom-client");
    new Counter({ name: "cilium_test_total", help: "A test.", registers: [registry] }).inc(2);
    await using endpoint = await serveMetrics(registry, { host: "127.0.0.1", port: 0 });
    const text = await (await fetch(`http://127.0.0.1:${endpoint.port}/metrics`)).text();
    assert.match(text, /^cilium_test_total 2$/m);
    assert.equal((await fetch(`http://127.0.0.1:${endpoint.port}/`)).status, 404);
  });
});

describe("runProgram", () => {
  it("ends only when a slow reader has got everything", () => {
    const program = new URL("program.ts", import.meta.url).href;
    const code = `import { runProgram } from "${program}"; runProgram("p", async () => { process.stdout.write("x".repeat(1e6)); return 3; });`;
    const script = `"${process.execPath}" --input-type=module -e '${code}' | (sleep 0.2; wc -c); echo "\${PIPESTATUS[0]}"`;
    assert.equal(execFileSync("bash", ["-c", script]).toString(), "1000000\n3\n");
  });
});

describe("runCommand", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    it(`dies of ${signal} in the middle of a computation`, async () => {
      const program = new URL("program.ts", import.meta.url).href;
      const code = `import { writeSync } from "node:fs"; import { runCommand } from "${program}"; runCommand("p", async () => { writeSync(1, "x"); for (;;); });`;
      const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
      const force = setTimeout(() => child.kill("SIGKILL"), 60_000);
      await once(child.stdout, "data");
      child.kill(signal);
      assert.deepEqual(await once(child, "exit"), [null, signal]);
      clearTimeout(force);
    });
});

describe("errorMessage", () => {
  it("joins the messages of the causes without repeating them", () => {
    const cause = new Error("connection refused");
    assert.equal(errorMessage(new Error("cannot list pods", { cause })), "cannot list pods: connection refused");
    assert.equal(errorMessage(new Error("it failed: connection refused", { cause })), "it failed: connection refused");
  });
});
