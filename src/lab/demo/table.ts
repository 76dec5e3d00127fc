import { type DemoStep, PROBE_NAMES, PROBES, type ProbeName, type Seen } from "./steps.ts";

/** Why a denied probe was denied, in one line. */
export type Reasons = Partial<Record<ProbeName, string>>;

export type Row = Readonly<Record<ProbeName, Seen>>;

const COLOURS = { good: 32, bad: 31, dim: 2, bold: 1 } as const;

export type Paint = (colour: keyof typeof COLOURS, text: string) => string;

/** Colours text when wanted. */
export function painter(colours: boolean): Paint {
  return (colour, text) => (colours ? `\x1b[${COLOURS[colour]}m${text}\x1b[0m` : text);
}

const TITLE_WIDTH = 18;
const EXPECTED_WIDTH = 10;
const CELL_WIDTH = 22;

/** The table's first lines: the probes, and what the two halves of a cell are. */
export function formatHeading(paint: Paint): string {
  const probes = PROBES.map(({ heading }) => heading.padEnd(CELL_WIDTH));
  const halves = PROBES.map(() => `${"expected".padEnd(EXPECTED_WIDTH)}  seen`.padEnd(CELL_WIDTH));
  const line = (title: string, cells: readonly string[]) => `${title.padEnd(TITLE_WIDTH)}${cells.join("")}`.trimEnd();
  return `${paint("bold", line("step", probes))}\n${paint("dim", line("", halves))}`;
}

/** One step: in each cell what was expected and what was seen. */
export function formatRow(index: number, step: DemoStep, row: Row, paint: Paint): string {
  const cells = PROBE_NAMES.map((name) => {
    const expected = step.expected[name];
    const good = row[name] === expected;
    return paint(good ? "good" : "bad", `${expected.padEnd(EXPECTED_WIDTH)}${good ? "✓" : "✗"} ${row[name]}`.padEnd(CELL_WIDTH));
  });
  return `${`${index} ${step.title}`.padEnd(TITLE_WIDTH)}${cells.join("")}`.trimEnd();
}

const REASON_INDENT = 26;

/** The reasons of a step's denials, below its row; what came nearest to allowing it on lines of its own. */
export function formatReasons(reasons: Reasons, paint: Paint): string[] {
  return PROBES.flatMap(({ name, heading }) => {
    const [first, ...more] = reasons[name]?.split(/; (?=nearest is )/) ?? [];
    if (first === undefined) return [];
    return [`    ${heading}`.padEnd(REASON_INDENT) + first, ...more.map((line) => `${" ".repeat(REASON_INDENT + 2)}${line}`)].map((line) =>
      paint("dim", line),
    );
  });
}

/** Whether every cell is as expected. */
export function isAsExpected(step: DemoStep, row: Row): boolean {
  return PROBE_NAMES.every((name) => row[name] === step.expected[name]);
}
