import type { Cell, Matrix } from "#policy/reach/matrix.ts";
import { matrixOf } from "#policy/reach/matrix.ts";
import type { Party } from "#policy/world/party.ts";
import { CodedError } from "#runtime/errors.ts";
import { formatOutput, formatTable } from "./output.ts";
import { loadWorld, type WorldOptions } from "./world.ts";

/** There is nobody to show. */
export class MatrixError extends CodedError {}

export interface MatrixOptions extends WorldOptions {
  /** Only rows and columns whose names contain one of these; pairs with one end that does are shown whole. */
  readonly only?: readonly string[] | undefined;
  readonly output?: string | undefined;
}

/** `policy matrix`: who may send what to whom. Rejects when the world cannot be read or has no pods. */
export async function policyMatrix(options: MatrixOptions): Promise<string> {
  const world = await loadWorld(options);
  if (world.endpoints.length === 0)
    throw new MatrixError("no-pods", "no pods or workloads: name files with them by --pods FILE, or --pods cluster");
  const { only = [] } = options;
  const matrix = matrixOf(world, (from, to) => isWanted(from, only) || isWanted(to, only));
  for (const text of only) {
    if (!matrix.parties.some((party) => isWanted(party, [text])))
      throw new MatrixError("nobody", `--only ${text}: nobody's name has that in it; there are ${namesOf(matrix.parties)}`);
  }
  const rows = rowsOf(matrix);
  const { output = "table" } = options;
  if (output === "csv") return csv(rows);
  if (output === "html") return (await import("./matrix-page.ts")).matrixPage(chosen(matrix, only), countText(rows));
  if (output === "svg") return (await import("./matrix-page.ts")).matrixPicture(chosen(matrix, only));
  if (output !== "table")
    return formatOutput(
      output,
      rows.map(({ from, to, cell }) => ({ from: from.title, to: to.title, kind: cell.kind, what: cell.text, spans: cell.reach })),
      ["table", "csv", "html", "svg"],
    );
  const table = formatTable(["FROM", "TO", "MAY SEND"], tableRows(rows));
  return `${table}\n${countText(rows)}\n`;
}

function namesOf(parties: readonly Party[]): string {
  const titles = parties.map(({ title }) => title);
  return titles.length <= 2 * NAMED ? titles.join(", ") : `${titles.slice(0, 2 * NAMED).join(", ")} and ${titles.length - 2 * NAMED} more`;
}

function countText(rows: readonly Row[]): string {
  const open = rows.filter(({ cell }) => cell.kind !== "none").length;
  return `${open} of ${rows.length} pairs may talk; the others may send nothing.`;
}

interface Row {
  readonly from: Party;
  readonly to: Party;
  readonly cell: Cell;
}

const isWanted = ({ title }: Party, only: readonly string[]) => only.length === 0 || only.some((text) => title.includes(text));

function rowsOf({ parties, cells }: Matrix): Row[] {
  return parties.flatMap((from, i) =>
    parties.flatMap((to, j): Row[] => {
      const cell = cells[i]?.[j];
      return cell === undefined ? [] : [{ from, to, cell }];
    }),
  );
}

/** The matrix of the wanted ones and of those that talk with them. */
function chosen({ parties, cells }: Matrix, only: readonly string[]): Matrix {
  const wanted = parties.map((party) => isWanted(party, only));
  const talk = (i: number, j: number) => (cells[i]?.[j]?.kind ?? "none") !== "none" || (cells[j]?.[i]?.kind ?? "none") !== "none";
  const kept = parties.flatMap((_, i) => (wanted[i] === true || wanted.some((one, j) => one && talk(i, j)) ? [i] : []));
  return { parties: kept.map((i) => parties[i] as Party), cells: kept.map((i) => kept.map((j) => cells[i]?.[j])) };
}

/** Pairs that may talk; targets of one source with the same ports in one line. */
function tableRows(rows: readonly Row[]): string[][] {
  const open = rows.filter(({ cell }) => cell.kind !== "none");
  const groups = Map.groupBy(open, ({ from, cell }) => `${from.title}\n${cell.text}`);
  return [...groups.values()].map((same) => [same[0]?.from.title ?? "", targets(same), same[0]?.cell.text ?? ""]);
}

const NAMED = 4;

function targets(rows: readonly Row[]): string {
  const titles = rows.map(({ to }) => to.title);
  return titles.length <= NAMED ? titles.join(", ") : `${titles.slice(0, NAMED).join(", ")} and ${titles.length - NAMED} more`;
}

function csv(rows: readonly Row[]): string {
  // A leading sign would be a formula to a spreadsheet.
  const field = (text: string) => `"${text.replaceAll('"', '""').replace(/^[=+@-]/, "'$&")}"`;
  const lines = rows.map(({ from, to, cell }) => [from.title, to.title, cell.kind, cell.text].map(field).join(","));
  return `${["from,to,kind,what", ...lines].join("\r\n")}\r\n`;
}
