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
const widthOf = (name: ProbeName) => Math.max(16, (PROBES.find((probe) => probe.name === name)?.heading.length ?? 0) + 2);

/** The table's first line. */
export function formatHeading(paint: Paint): string {
  const cells = PROBES.map(({ name, heading }) => heading.padEnd(widthOf(name)));
  return paint("bold", `${"step".padEnd(TITLE_WIDTH)}${cells.join("")}`.trimEnd());
}

/** One step: each cell what was seen, and what was expected where that differs. */
export function formatRow(index: number, step: DemoStep, row: Row, paint: Paint): string {
  const cells = PROBE_NAMES.map((name) => {
    const expected = step.expected[name];
    const good = row[name] === expected;
    const text = good ? `✓ ${row[name]}` : `✗ ${row[name]}, not ${expected}`;
    return paint(good ? "good" : "bad", text.padEnd(widthOf(name)));
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
