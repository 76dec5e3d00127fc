import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Serving } from "#api/gen/grpc/health/v1/health_pb.ts";
import { Observer, type ServerStatusResponse, ServerStatusResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { formatNanoseconds } from "#types/duration.ts";
import { type Losses, lossesOf } from "../observer/losses-header.ts";
import { jsonLine } from "../printer/json-line.ts";
import { alignRows } from "../printer/tabular.ts";
import { OBSERVER_HEALTH } from "../server/health.ts";
import { UsageError } from "./args.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";
import { formatCount, formatRatio } from "./numbers.ts";

/** `hubble status`: 1 when the server is not healthy or does not answer. */
export async function status(context: CommandContext): Promise<number> {
  const { settings } = context;
  const server = settings.text("server");
  const format = settings.text("output").toLowerCase();
  if (!["compact", "dict", "json", "jsonpb", "table", "tab"].includes(format))
    throw new UsageError(`invalid output format: ${format}: expected compact, dict, json, table`);
  using connection = connectServer(context);
  const options = { timeoutMs: settings.duration("request-timeout"), signal: context.signal };
  try {
    const health = await checkHealth(connection.transport, options);
    if (format === "compact") context.out(`Healthcheck (via ${server.replace(/^tls:\/\//, "")}): ${health}\n`);
    if (health !== "Ok") throw new Error("not healthy");
    let lost: Losses = { events: 0n, history: 0n };
    const onHeader = (headers: Headers) => {
      lost = lossesOf(headers);
    };
    const response = await createClient(Observer, connection.transport).serverStatus({}, { ...options, onHeader });
    context.out(print(response, lost, format));
  } catch (thrown) {
    if (thrown instanceof ConnectError) throw callFailure(thrown, server);
    throw thrown;
  }
  return 0;
}

async function checkHealth(transport: Transport, options: { readonly timeoutMs: number }): Promise<string> {
  try {
    const { status } = await createClient(Health, transport).check({ service: OBSERVER_HEALTH }, options);
    return status === Serving.SERVING ? "Ok" : status === Serving.NOT_SERVING ? "Unavailable: NOT_SERVING" : "Unavailable: UNKNOWN";
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    // Servers without a health service are as healthy as their status call says.
    if (error.code === Code.Unimplemented) return "Ok";
    throw error;
  }
}

function print(response: ServerStatusResponse, lost: Losses, format: string): string {
  switch (format) {
    case "json":
    case "jsonpb":
      return `${jsonLine(ServerStatusResponseSchema, response)}\n`;
    case "dict":
      return dict(response, lost);
    case "compact":
      return compact(response, lost);
    default:
      return table(response, lost);
  }
}

function flowRate({ flowsRate, seenFlows, uptimeNs }: ServerStatusResponse): string {
  if (flowsRate > 0) return flowsRate.toFixed(2);
  const seconds = Number(uptimeNs) / 1e9;
  return seconds > 0 ? (Number(seenFlows) / seconds).toFixed(2) : "N/A";
}

function compact(response: ServerStatusResponse, lost: Losses): string {
  const { numFlows, maxFlows, numConnectedNodes, numUnavailableNodes = 0, unavailableNodes } = response;
  const total = response.numUnavailableNodes === undefined ? "" : `/${(numConnectedNodes ?? 0) + numUnavailableNodes}`;
  const lines = [`Current/Max Flows: ${formatRatio(numFlows, maxFlows)}`, `Flows/s: ${flowRate(response)}`];
  if (lost.events > 0n) lines.push(`Lost Events: ${formatCount(lost.events)}`);
  if (lost.history > 0n)
    lines.push(`Lost from History: ${formatCount(lost.history)} (the disk was full or too slow; see the agents' logs)`);
  if (numConnectedNodes !== undefined) {
    lines.push(`Connected Nodes: ${numConnectedNodes}${total}`);
    if (numUnavailableNodes > 0)
      lines.push(`Unavailable Nodes: ${numUnavailableNodes}`, ...unavailableNodes.toSorted().map((name) => `  - ${name}`));
    const unnamed = numUnavailableNodes - unavailableNodes.length;
    if (unavailableNodes.length > 0 && unnamed > 0) lines.push(`  - and ${unnamed} more...`);
  }
  return `${lines.join("\n")}\n`;
}

function rowsOf(response: ServerStatusResponse, lost: Losses): (readonly [string, string])[] {
  const rows: (readonly [string, string])[] = [
    ["NUM FLOWS", formatCount(response.numFlows)],
    ["MAX FLOWS", formatCount(response.maxFlows)],
    ["SEEN FLOWS", formatCount(response.seenFlows)],
    ["FLOWS PER SECOND", response.flowsRate > 0 ? response.flowsRate.toFixed(2) : "N/A"],
    ["UPTIME", formatNanoseconds(response.uptimeNs)],
  ];
  if (lost.events > 0n) rows.push(["LOST EVENTS", formatCount(lost.events)]);
  if (lost.history > 0n) rows.push(["LOST FROM HISTORY", formatCount(lost.history)]);
  rows.push(["NUM CONNECTED NODES", String(response.numConnectedNodes ?? "N/A")]);
  rows.push(["NUM UNAVAILABLE NODES", String(response.numUnavailableNodes ?? "N/A")]);
  rows.push(["VERSION", response.version]);
  return rows;
}

function dict(response: ServerStatusResponse, lost: Losses): string {
  return rowsOf(response, lost)
    .map(([key, value]) => `${key.replace("UNAVAILABLE", "UNAVAIL.").padStart(19)}: ${value}\n`)
    .join("");
}

function table(response: ServerStatusResponse, lost: Losses): string {
  const rows = rowsOf(response, lost);
  return `${alignRows([rows.map(([key]) => key), rows.map(([, value]) => value)])}\n`;
}
