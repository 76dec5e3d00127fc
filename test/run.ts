import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestResult } from "./count-reporter.ts";
import type { OpenHandles } from "./open-handles.ts";

/**
 * `npm test [-- LAYER...]`: every layer of tests, cheapest first. Each only tests what the ones before cannot. The last line
 * is `N passed, N failed, N skipped`; the exit status is 0 when nothing failed.
 */
const root = new URL("..", import.meta.url).pathname;
const node = process.execPath;

interface Layer {
  readonly name: string;
  readonly about: string;
  /** Test files, as globs; or commands whose exit status is the result. */
  readonly files?: readonly string[];
  readonly commands?: readonly (readonly [string, readonly string[]])[];
  /** Files share one process: for tests without root, processes and global state. */
  readonly shared?: boolean;
  readonly needsRoot?: boolean;
  readonly timeoutMs: number;
}

const UNIT = ["src/**/*.test.ts", "tools/**/*.test.ts", "ui/**/*.test.ts"];

const LAYERS: readonly Layer[] = [
  {
    name: "check",
    about: "types, lint, unused code",
    commands: [
      ["tsc", ["--pretty", "false"]],
      ["tsc", ["--pretty", "false", "-p", "ui"]],
      ["biome", ["ci", "--colors=off", "--error-on-warnings", "--max-diagnostics=20", "."]],
      ["knip", ["--no-progress"]],
      ["scripts/generate", ["--check"]],
    ],
    timeoutMs: 300_000,
  },
  { name: "unit", about: "functions and components, with fakes", files: UNIT, shared: true, timeoutMs: 600_000 },
  { name: "conformance", about: "Cilium's own policy verdicts", files: ["test/conformance/*.test.ts"], timeoutMs: 600_000 },
  { name: "datapath", about: "packets through the eBPF programs", files: ["bpf/tests/**/*.test.ts"], needsRoot: true, timeoutMs: 900_000 },
  { name: "netns", about: "real traffic between network namespaces", files: ["test/netns/*.test.ts"], needsRoot: true, timeoutMs: 900_000 },
  { name: "e2e", about: "the lab, kubectl and the guides' stories", files: ["test/e2e/*.test.ts"], needsRoot: true, timeoutMs: 1_800_000 },
];

function run(command: string, args: readonly string[], timeout: number, env: Readonly<Record<string, string>> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const path = `${root}node_modules/.bin:${process.env.PATH}`;
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, PATH: path, ...env } });
    const timer = setTimeout(() => {
      process.stderr.write(`${command} took longer than ${timeout / 1000} s and is stopped\n`);
      child.kill("SIGKILL");
    }, timeout);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve(code ?? 1);
    });
  });
}

async function runCommands(layer: Layer): Promise<TestResult[]> {
  const results: TestResult[] = [];
  for (const [command, args] of layer.commands ?? []) {
    const code = await run(command, args, layer.timeoutMs);
    results.push({ name: `${layer.name}: ${command}`, file: "", result: code === 0 ? "passed" : "failed" });
  }
  return results;
}

async function runFiles(layer: Layer): Promise<TestResult[]> {
  const files = globSync([...(layer.files ?? [])], { cwd: root }).sort();
  if (files.length === 0) return [];
  if (layer.needsRoot && process.getuid?.() !== 0) {
    return files.map((file) => ({ name: file, file, result: "skipped", reason: "needs root" }));
  }
  const directory = mkdtempSync(join(tmpdir(), "test-results-"));
  const [out, handles] = [join(directory, "results.jsonl"), join(directory, "handles.jsonl")];
  const isolation = layer.shared ? ["--test-isolation=none"] : ["--test-concurrency=1"];
  const reporters = [
    "--test-reporter=dot",
    "--test-reporter-destination=stdout",
    "--test-reporter=./test/count-reporter.ts",
    "--test-reporter-destination=stderr",
  ];
  try {
    const args = [
      "--test",
      "--test-force-exit",
      "--import=./test/open-handles.ts",
      "--import=./test/seed.ts",
      "--disable-warning=ExperimentalWarning",
      ...isolation,
      ...reporters,
      "--test-timeout=700000",
      ...files,
    ];
    const code = await run(node, args, layer.timeoutMs, { TEST_RESULTS: out, TEST_HANDLES: handles });
    const results = readLines<TestResult>(out);
    for (const { file, text } of readLines<OpenHandles>(handles)) process.stdout.write(`left open: ${file.replace(root, "")}: ${text}\n`);
    if (code !== 0 && !results.some(({ result }) => result === "failed")) {
      results.push({ name: `${layer.name}: the run itself`, file: "", result: "failed" });
    }
    return results;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function readLines<T>(path: string): T[] {
  try {
    const lines = readFileSync(path, "utf8").trim().split("\n");
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as T);
  } catch {
    return [];
  }
}

function count(results: readonly TestResult[], result: TestResult["result"]): number {
  return results.filter((one) => one.result === result).length;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !LAYERS.some((layer) => layer.name === name));
if (unknown.length > 0) {
  process.stderr.write(`no test layer "${unknown.join(", ")}"; there are: ${LAYERS.map(({ name }) => name).join(", ")}\n`);
  process.exit(2);
}
const all: TestResult[] = [];
for (const layer of LAYERS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  process.stdout.write(`\n== ${layer.name}: ${layer.about}\n`);
  const started = performance.now();
  const results = layer.commands ? await runCommands(layer) : await runFiles(layer);
  all.push(...results);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(
    `\n${layer.name}: ${count(results, "passed")} passed, ${count(results, "failed")} failed, ${count(results, "skipped")} skipped in ${seconds} s\n`,
  );
}

for (const { name, file, reason = "no reason given" } of all.filter(({ result }) => result === "skipped")) {
  process.stdout.write(`skipped: ${name} (${file.replace(root, "")}): ${reason}\n`);
}
for (const { name, file } of all.filter(({ result }) => result === "failed")) {
  process.stdout.write(`FAILED: ${name} (${file.replace(root, "")})\n`);
}
const skipped = count(all, "skipped");
process.stdout.write(`\n${count(all, "passed")} passed, ${count(all, "failed")} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exit(count(all, "failed") > 0 || all.length === 0 ? 1 : 0);
