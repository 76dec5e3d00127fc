import { globSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Benchmark, holds, type Row, ratioOf } from "./row.ts";

/** `npm run bench [-- NAME... --json FILE --minutes N]`. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "string" }, minutes: { type: "string" }, list: { type: "boolean" }, help: { type: "boolean" } },
});

const directory = new URL("./", import.meta.url);
const files = globSync("*.bench.ts", { cwd: directory.pathname }).sort();
const benchmarks = await Promise.all(
  files.map(async (file) => ((await import(new URL(file, directory).href)) as { readonly benchmark: Benchmark }).benchmark),
);

if (values.help || values.list) {
  process.stdout.write("npm run bench [-- NAME... --json FILE --minutes N]\n\n");
  for (const { name, about } of benchmarks) process.stdout.write(`  ${name.padEnd(22)} ${about}\n`);
  process.exit(0);
}
const unknown = positionals.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name));
if (unknown.length > 0) {
  process.stderr.write(`no benchmark "${unknown.join(", ")}"; there are: ${benchmarks.map(({ name }) => name).join(", ")}\n`);
  process.exit(2);
}

const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
if (minutes !== undefined && !(minutes > 0)) {
  process.stderr.write(`--minutes ${values.minutes}: must be a positive number\n`);
  process.exit(2);
}

const rows: Row[] = [];
let failed = false;
const wanted = ({ name, onlyByName }: Benchmark) => (positionals.length === 0 ? !onlyByName : positionals.includes(name));
for (const benchmark of benchmarks.filter(wanted)) {
  process.stderr.write(`${benchmark.name}: ${benchmark.about}\n`);
  try {
    rows.push(...(await benchmark.run((text) => process.stderr.write(`  ${text}\n`), minutes === undefined ? {} : { minutes })));
  } catch (thrown) {
    failed = true;
    process.stderr.write(`${benchmark.name} failed: ${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
  }
}

const figure = (value: number | undefined) => (value === undefined ? "" : String(Number(value.toPrecision(4))));
const cells = rows.map((row) => {
  const kept = holds(row);
  const peer = row.peer === undefined ? "" : `${figure(row.peer)}${row.peerName ? ` ${row.peerName}` : ""}`;
  return [
    row.name,
    row.unit,
    figure(row.ours),
    peer,
    figure(ratioOf(row)),
    figure(row.goal),
    kept === undefined ? "" : kept ? "yes" : "NO",
    row.note ?? "",
  ];
});
const headings = ["name", "unit", "ours", "peer", "ratio", "goal", "holds", ""];
const widths = headings.map((heading, column) => Math.max(heading.length, ...cells.map((row) => (row[column] ?? "").length)));
for (const row of [headings, ...cells])
  process.stdout.write(
    `${row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()}\n`,
  );
if (values.json) {
  const json = rows.map((row) => ({ ...row, ratio: ratioOf(row), holds: holds(row) }));
  writeFileSync(values.json, `${JSON.stringify(json, null, 2)}\n`);
}
process.exit(failed ? 1 : 0);
