import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { NamespaceSchema, type Node, NodeSchema, Observer } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
import { formatNanoseconds } from "#types/duration.ts";
import { escapeMarkup, jsonInOrder } from "../printer/json-line.ts";
import { alignRows } from "../printer/tabular.ts";
import { UsageError } from "./args.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";

/** `hubble list nodes|namespaces`. */
export async function list(context: CommandContext): Promise<number> {
  const [what, ...more] = context.args.positionals;
  if (more.length > 0) throw new UsageError(`unknown argument "${more[0]}" for "hubble list ${what}"`);
  const { settings } = context;
  const format = settings.text("output").toLowerCase();
  if (!["table", "tab", "wide", "json", "dict"].includes(format))
    throw new UsageError(`unknown output format: ${format}: expected dict, json, table, wide`);
  using connection = connectServer(context);
  const client = createClient(Observer, connection.transport);
  const options = { timeoutMs: settings.duration("request-timeout"), signal: context.signal };
  try {
    if (what === "nodes" || what === "node") {
      const response = await client.getNodes({}, options);
      const found = response.nodes.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      context.out(format === "json" ? json(NodeSchema, found) : nodes(found, format));
    } else if (what === "namespaces" || what === "namespace" || what === "ns") {
      const response = await client.getNamespaces({}, options);
      const rows = response.namespaces.map(({ namespace, cluster }) => [["NAMESPACE", namespace] as const, ["CLUSTER", cluster] as const]);
      if (format === "json") context.out(json(NamespaceSchema, response.namespaces));
      else context.out(rowsText(rows, format, 1, ["NAMESPACE", "CLUSTER"]));
    } else throw new UsageError(`unknown command "${what ?? ""}" for "hubble list": expected nodes or namespaces`);
  } catch (thrown) {
    throw thrown instanceof UsageError ? thrown : callFailure(thrown, settings.text("server"));
  }
  return 0;
}

/** A list as Go's encoder writes it: one without items is null. */
function json<Desc extends DescMessage>(schema: Desc, items: readonly MessageShape<Desc>[]): string {
  const list = items.length === 0 ? null : items.map((item) => jsonInOrder(schema, item));
  return `${escapeMarkup(JSON.stringify(list, null, 2))}\n`;
}

const STATES: Readonly<Record<number, string>> = {
  [NodeState.NODE_CONNECTED]: "Connected",
  [NodeState.NODE_UNAVAILABLE]: "Unavailable",
  [NodeState.NODE_GONE]: "Gone",
  [NodeState.NODE_ERROR]: "Error",
};
const NODE_COLUMNS = ["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS", "VERSION", "ADDRESS", "TLS"];

function nodes(found: readonly Node[], format: string): string {
  const rows = found.map((node) => NODE_COLUMNS.map((column, index) => [column, nodeCells(node)[index] ?? "N/A"] as const));
  return rowsText(rows, format, 5, NODE_COLUMNS);
}

function nodeCells(node: Node): string[] {
  const seconds = Math.round(Number(node.uptimeNs) / 1e9);
  const rate = seconds > 0 ? (Number(node.seenFlows) / seconds).toFixed(2) : "N/A";
  const ratio =
    node.maxFlows > 0n
      ? `${node.numFlows}/${node.maxFlows} (${((Number(node.numFlows) / Number(node.maxFlows)) * 100).toFixed(2).padStart(6)}%)`
      : "N/A";
  const tls = node.tls === undefined ? "N/A" : node.tls.enabled ? "Enabled" : "Disabled";
  return [
    node.name,
    STATES[node.state] ?? "Unknown",
    seconds > 0 ? formatNanoseconds(BigInt(seconds) * 1_000_000_000n) : "N/A",
    rate,
    ratio,
    node.version || "N/A",
    node.address || "N/A",
    tls,
  ];
}

type Row = readonly (readonly [string, string])[];

/** Rows as a table of the first `narrow` columns, all of them when wide, or as blocks of `KEY: value`. */
function rowsText(rows: readonly Row[], format: string, narrow: number, columns: readonly string[]): string {
  if (format === "dict")
    return rows.map((row) => row.map(([key, value]) => `${key.padStart(17)}: ${value}\n`).join("")).join("------------\n");
  const shown = format === "wide" ? columns.length : narrow;
  return `${alignRows([columns.slice(0, shown), ...rows.map((row) => row.slice(0, shown).map(([, value]) => value))])}\n`;
}
