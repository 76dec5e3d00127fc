import { createMatrix, type Edge } from "../aggregate/matrix.ts";
import { escapeTerminal } from "../printer/escape.ts";
import { alignRows } from "../printer/tabular.ts";
import { takeResponse } from "./aggregate.ts";
import { UsageError } from "./args.ts";
import type { CommandContext } from "./context.ts";
import { takeFlows } from "./flow-source.ts";
import { flowsRequest } from "./request.ts";

const WRITE: Readonly<Record<string, (edges: readonly Edge[]) => string>> = {
  table: edgeTable,
  json: (edges) => `${JSON.stringify(edges, null, 2)}\n`,
  csv: (edges) =>
    [["source", "destination", "port", "flows", "dropped"], ...edges.map(cells)].map((row) => `${row.map(csvCell).join(",")}\n`).join(""),
};

/** `hubble matrix`: who talked to whom on what, and what of it was dropped. */
export async function matrix(context: CommandContext): Promise<number> {
  const { settings, args } = context;
  if (args.positionals.length > 0) throw new UsageError(`unknown argument "${args.positionals[0]}" for "hubble matrix"`);
  const write = WRITE[settings.text("output")];
  if (write === undefined)
    throw new UsageError(`invalid output format: ${settings.text("output")}: expected ${Object.keys(WRITE).join(", ")}`);
  const request = flowsRequest(args, settings);
  const limited = ["last", "first"].some((flag) => settings.has(flag));
  const seen = createMatrix();
  const taker = { print: (response: Parameters<typeof takeResponse>[0]) => takeResponse(response, seen, context.err) };
  await takeFlows(context, limited ? request : { ...request, number: 0n }, taker);
  context.out(write(seen.edges()));
  return 0;
}

function edgeTable(edges: readonly Edge[]): string {
  const rows = edges.map((edge) => [
    ...cells(edge),
    edge.dropped === 0 ? "allowed" : edge.dropped === edge.flows ? "denied" : "partly denied",
  ]);
  return `${alignRows([["SOURCE", "DESTINATION", "PORT", "FLOWS", "DROPPED", "VERDICT"], ...rows])}\n`;
}

function cells({ source, destination, port, flows, dropped }: Edge): string[] {
  return [escapeTerminal(source), escapeTerminal(destination), port === "" ? "-" : port, String(flows), String(dropped)];
}

// A cell that begins like a formula is one to a spreadsheet.
function csvCell(text: string): string {
  const safe = /^[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
