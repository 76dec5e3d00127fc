import type { Cell, CellKind, Matrix } from "#policy/reach/matrix.ts";
import type { Party } from "#policy/world/party.ts";

const SIZE = 16;
const LETTER = 6.4;

const words: Readonly<Record<CellKind, string>> = {
  all: "everything",
  ports: "some ports",
  l7: "through the proxy's rules",
  none: "nothing",
};

/** The matrix as one HTML page that needs nothing else: an SVG with a row for each source and a column for each target, and how many may talk. */
export function matrixPage(matrix: Matrix, count: string): string {
  const title = "Who may send what to whom";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title}</h1>
<p>${count} Rows send, columns receive. Point at a square to read what may pass.</p>
${legend()}
<div class="scroll">${svg(matrix)}</div>
</body>
</html>
`;
}

/** The matrix alone, as an SVG file. */
export function matrixPicture(matrix: Matrix): string {
  const [open = "", ...rest] = svg(matrix).split("\n");
  return [open, `<style>${PICTURE_STYLE}</style>`, ...rest, ""].join("\n");
}

const COLOURS =
  ":root { color-scheme: light dark; --all: #3b82b8; --ports: #5aa469; --l7: #8a63b8; --none: #80808022; --line: #80808055; }";
const PICTURE_STYLE = `
${COLOURS}
text { font: 11px ui-monospace, monospace; fill: currentColor; }
rect.all { fill: var(--all); } rect.ports { fill: var(--ports); } rect.l7 { fill: var(--l7); } rect.none { fill: var(--none); }
.cell:hover rect, .cell:focus rect { stroke: currentColor; stroke-width: 2; }
line { stroke: var(--line); }
`;
const STYLE = `${PICTURE_STYLE}
body { font: 14px system-ui, sans-serif; margin: 2rem; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
p { margin: 0 0 1rem; opacity: .8; }
.scroll { overflow: auto; }
ul { list-style: none; display: flex; gap: 1.2rem; padding: 0; margin: 0 0 1rem; }
li { display: flex; align-items: center; gap: .4rem; }
`;

function legend(): string {
  const items = Object.entries(words).map(
    ([kind, text]) =>
      `<li><svg width="${SIZE}" height="${SIZE}"><rect class="${kind}" width="${SIZE - 2}" height="${SIZE - 2}"/></svg>${text}</li>`,
  );
  return `<ul>${items.join("")}</ul>`;
}

function svg({ parties, cells }: Matrix): string {
  const longest = Math.max(1, ...parties.map(({ title }) => title.length));
  const margin = Math.ceil(longest * LETTER) + 14;
  const extent = margin + parties.length * SIZE + 1;
  // Column headings lean to the right and need room there.
  const width = extent + margin;
  const at = (index: number) => margin + index * SIZE;
  const sends = (i: number) => cells[i]?.some((cell) => cell !== undefined) === true;
  const rows = parties.map((party, i) =>
    sends(i) ? `<text x="${margin - 6}" y="${at(i) + 12}" text-anchor="end">${escaped(party.title)}</text>` : "",
  );
  const columns = parties.map(
    (party, j) => `<text transform="translate(${at(j) + 11} ${margin - 6}) rotate(-60)">${escaped(party.title)}</text>`,
  );
  const closed = cells.flatMap((row, i) => runsOf(row).map(({ first, count }) => strip(at(first), at(i), count)));
  const squares = cells.flatMap((row, i) => row.flatMap((cell, j) => square(cell, parties[i], parties[j], at(j), at(i))));
  const edges = groupEdges(parties).flatMap((index) => [
    `<line x1="${at(index)}" x2="${at(index)}" y1="${margin}" y2="${extent}"/>`,
    `<line y1="${at(index)}" y2="${at(index)}" x1="${margin}" x2="${extent}"/>`,
  ]);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${extent + 4}" role="img" aria-label="matrix of ${parties.length} parties">
${[...rows, ...columns, ...closed, ...edges, ...squares].join("\n")}
</svg>`;
}

/** Runs of squares in which nothing may pass: one strip each, as most of a big matrix is made of them. */
function runsOf(row: Matrix["cells"][number]): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const [j, cell] of row.entries()) {
    if (cell?.kind !== "none") continue;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === j) last.count++;
    else runs.push({ first: j, count: 1 });
  }
  return runs;
}

function strip(x: number, y: number, count: number): string {
  return `<rect class="none" x="${x + 1}" y="${y + 1}" width="${count * SIZE - 2}" height="${SIZE - 2}"/>`;
}

function square(cell: Cell | undefined, from: Party | undefined, to: Party | undefined, x: number, y: number): string[] {
  if (cell === undefined || cell.kind === "none" || from === undefined || to === undefined) return [];
  const text = escaped(`${from.title} → ${to.title}: ${cell.text}`);
  return [
    `<g class="cell"><title>${text}</title><rect class="${cell.kind}" x="${x + 1}" y="${y + 1}" width="${SIZE - 2}" height="${SIZE - 2}"/></g>`,
  ];
}

/** Where a namespace, or the outside, begins. */
function groupEdges(parties: readonly Party[]): number[] {
  const groupOf = (party: Party) => (party.kind === "pod" ? (party.title.split("/")[0] ?? "") : party.kind);
  return parties.flatMap((party, i) => {
    const before = parties[i - 1];
    return before !== undefined && groupOf(before) !== groupOf(party) ? [i] : [];
  });
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (one) => entities[one] ?? one);
}
