import { toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { GetNamespacesResponseSchema, GetNodesResponseSchema, type Node, Observer } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
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
    throw new UsageError(`invalid output format: ${format}: expected dict, json, table, wide`);
  using connection = connectServer(context);
  const client = createClient(Observer, connection.transport);
  const options = { timeoutMs: settings.duration("request-timeout"), signal: context.signal };
  try {
    if (what === "nodes" || what === "node") {
      const response = await client.getNodes({}, options);
      context.out(
        format === "json"
          ? json(toJsonString(GetNodesResponseSchema, response, { useProtoFieldName: true }), "nodes")
          : nodes(response.nodes, format),
      );
    } else if (what === "namespaces" || what === "namespace" || what === "ns") {
      const response = await client.getNamespaces({}, options);
      const rows = response.namespaces.map(({ namespace, cluster }) => [["NAMESPACE", namespace] as const, ["CLUSTER", cluster] as const]);
      if (format === "json")
        context.out(json(toJsonString(GetNamespacesResponseSchema, response, { useProtoFieldName: true }), "namespaces"));
      else context.out(rowsText(rows, format, 1, ["NAMESPACE", "CLUSTER"]));
    } else throw new UsageError(`unknown command "${what ?? ""}" for "hubble list": expected nodes or namespaces`);
  } catch (thrown) {
    throw thrown instanceof UsageError ? thrown : callFailure(thrown, settings.text("server"));
  }
  return 0;
}

function json(text: string, field: string): string {
  const value = (JSON.parse(text) as Record<string, unknown>)[field] ?? [];
  return `${JSON.stringify(value, null, 2)}\n`;
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
  const seconds = Number(node.uptimeNs) / 1e9;
  const rate = seconds > 0 ? (Number(node.seenFlows) / seconds).toFixed(2) : "N/A";
  const ratio =
    node.maxFlows > 0n
      ? `${node.numFlows}/${node.maxFlows} (${((Number(node.numFlows) / Number(node.maxFlows)) * 100).toFixed(2).padStart(6)}%)`
      : "N/A";
  const tls = node.tls === undefined ? "N/A" : node.tls.enabled ? "Enabled" : "Disabled";
  return [
    node.name,
    STATES[node.state] ?? "N/A",
    seconds > 0 ? age(seconds) : "N/A",
    rate,
    ratio,
    node.version || "N/A",
    node.address || "N/A",
    tls,
  ];
}

/** Kubernetes' notation: the largest units. */
function age(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${Math.floor(seconds % 60)}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${minutes % 60}m` : `${Math.floor(hours / 24)}d`;
}

type Row = readonly (readonly [string, string])[];

/** Rows as a table of the first `narrow` columns, all of them when wide, or as blocks of `KEY: value`. */
function rowsText(rows: readonly Row[], format: string, narrow: number, columns: readonly string[]): string {
  if (format === "dict")
    return rows.map((row) => row.map(([key, value]) => `${key.padStart(17)}: ${value}\n`).join("")).join("------------\n");
  const shown = format === "wide" ? columns.length : narrow;
  return `${alignRows([columns.slice(0, shown), ...rows.map((row) => row.slice(0, shown).map(([, value]) => value))])}\n`;
}
