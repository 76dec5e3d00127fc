import { createRegistry } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { ExplanationSchema } from "#api/gen/cilia/explanation_pb.ts";
import { type LostEvent, LostEventSchema, LostEventSource } from "#api/gen/flow/events_pb.ts";
import { AuthType, type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsResponse, GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
import { enumName } from "../enum-names.ts";
import { hostCell, identityCell, typeCell, verdictCell } from "./cells.ts";
import { type Colorer, noColor } from "./color.ts";
import { escapeTerminal } from "./escape.ts";
import { explainLines } from "./explain.ts";
import { jsonLine } from "./json-line.ts";
import { nodeStatusBlock, nodeStatusText } from "./node-status.ts";
import { alignRows } from "./tabular.ts";
import { formatTime } from "./time.ts";

/** What stands in a column that a report of losses has nothing for. */
const NOTHING = "-";

export type OutputFormat = "compact" | "dict" | "table" | "json" | "jsonpb";

export interface PrinterOptions {
  readonly format: OutputFormat;
  readonly color?: Colorer;
  readonly timeFormat?: string;
  readonly numeric?: boolean;
  readonly nodeName?: boolean;
  readonly policyNames?: boolean;
  readonly explain?: boolean;
  /** JSON of the flow alone, as before 0.11. */
  readonly legacyJson?: boolean;
  /** Also the relay's messages that say that all is well. */
  readonly debug?: boolean;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Prints what `GetFlows` sends. `end` must be called once: a table is printed only then. */
export interface Printer {
  print(response: GetFlowsResponse): void;
  end(): void;
}

/** A printer for one of the formats. */
export function createPrinter(options: PrinterOptions): Printer {
  switch (options.format) {
    case "compact":
      return linePrinter(options, {
        flow: (flow) => compactLine(flow, options),
        lost: (event, response) => compactLoss(event, response, options),
      });
    case "dict":
      return dictPrinter(options);
    case "table":
      return tablePrinter(options);
    case "json":
    case "jsonpb":
      return jsonPrinter(options);
  }
}

interface Writers {
  readonly flow: (flow: Flow) => string;
  readonly lost: (event: LostEvent, response: GetFlowsResponse) => string;
}

function linePrinter(options: PrinterOptions, writers: Writers): Printer {
  return {
    print(response) {
      const { responseTypes } = response;
      if (responseTypes.case === "flow") options.out(`${writers.flow(responseTypes.value)}\n`);
      else if (responseTypes.case === "lostEvents") options.out(`${writers.lost(responseTypes.value, response)}\n`);
      else printNodeStatus(response, options);
    },
    end: () => undefined,
  };
}

/** Good news of nodes is for those who debug. */
function isTold({ responseTypes }: GetFlowsResponse, { debug }: PrinterOptions): boolean {
  if (debug || responseTypes.case !== "nodeStatus") return true;
  const { stateChange } = responseTypes.value;
  return stateChange === NodeState.NODE_ERROR || stateChange === NodeState.NODE_UNAVAILABLE;
}

function printNodeStatus(response: GetFlowsResponse, options: PrinterOptions): void {
  if (response.responseTypes.case !== "nodeStatus") return;
  const text = nodeStatusText(response.responseTypes.value, options.debug ?? false);
  if (text !== undefined) options.err(`${timeOf(response.time, options)} [${escapeTerminal(response.nodeName)}]: ${text}\n`);
}

function timeOf(time: Timestamp | undefined, options: PrinterOptions): string {
  return formatTime(time, options.timeFormat);
}

interface Cells {
  readonly time: string;
  readonly node: string;
  readonly source: string;
  readonly destination: string;
  readonly type: string;
  readonly verdict: string;
  readonly summary: string;
}

function cellsOf(flow: Flow, options: PrinterOptions): Cells {
  const cell = cellOptions(options);
  return {
    time: timeOf(flow.time, options),
    node: escapeTerminal(flow.nodeName),
    source: hostCell(flow, "source", cell),
    destination: hostCell(flow, "destination", cell),
    type: escapeTerminal(typeCell(flow)),
    verdict: verdictCell(flow, cell),
    summary: summaryText(flow, cell.color),
  };
}

function cellOptions(options: PrinterOptions) {
  return { numeric: options.numeric ?? false, policyNames: options.policyNames ?? false, color: options.color ?? noColor };
}

function summaryText(flow: Flow, color: Colorer): string {
  const summary = escapeTerminal(flow.Summary);
  const trace = flow.ipTraceId === undefined || flow.ipTraceId.traceId === 0n ? "" : `IP Trace ID: ${flow.ipTraceId.traceId}; `;
  const auth = flow.authType === AuthType.DISABLED ? "" : `; Auth: ${color.auth(enumName(AuthType, flow.authType), flow.authType)}`;
  return `${trace}${summary}${auth}`;
}

function compactLine(flow: Flow, options: PrinterOptions): string {
  const cell = cellOptions(options);
  const cells = cellsOf(flow, options);
  const ends = [`${cells.source} ${identityCell(flow.source, cell)}`, `${cells.destination} ${identityCell(flow.destination, cell)}`];
  // The client stays on the left: an answer is shown right to left.
  const [left, right] = flow.isReply === true ? [ends[1], ends[0]] : ends;
  const arrow = flow.isReply === undefined ? "<>" : flow.isReply ? "<-" : "->";
  const node = options.nodeName ? ` [${cells.node}]` : "";
  const line = `${cells.time}${node}: ${left} ${arrow} ${right} ${cells.type} ${cells.verdict} (${cells.summary})`;
  return [line, ...explained(flow, options)].join("\n");
}

function explained(flow: Flow, options: PrinterOptions): string[] {
  if (!options.explain) return [];
  const { explanation } = options.color ?? noColor;
  return explainLines(flow).map((text) => explanation(escapeTerminal(text)));
}

/** How many events were lost; upstream's lines differ from its blocks and rows. */
function lossText(event: LostEvent, options: PrinterOptions, between = " - "): string {
  const { first, last } = event;
  const times = first && last ? ` (first: ${timeOf(first, options)}, last: ${timeOf(last, options)})` : "";
  return `CPU(${event.cpu ?? 0})${between}${event.numEventsLost}${times}`;
}

function compactLoss(event: LostEvent, response: GetFlowsResponse, options: PrinterOptions): string {
  return `${timeOf(response.time, options)} EVENTS LOST: ${enumName(LostEventSource, event.source)} ${lossText(event, options, " ")}`;
}

function dictPrinter(options: PrinterOptions): Printer {
  let printed = 0;
  const block = (entries: readonly (readonly [string, string])[], more: readonly string[] = []) => {
    const lines = entries.map(([key, value]) => `${key.padStart(11)}: ${value}`);
    const separator = printed++ === 0 ? "" : "------------\n";
    return separator + [...lines, ...more].join("\n");
  };
  const node = (name: string) => (options.nodeName ? [["NODE", name] as const] : []);
  const lines = linePrinter(options, {
    flow(flow) {
      const { time, node: name, source, destination, type, verdict, summary } = cellsOf(flow, options);
      const head = [["TIMESTAMP", time] as const, ...node(name), ["SOURCE", source], ["DESTINATION", destination]] as const;
      return block([...head, ["TYPE", type], ["VERDICT", verdict], ["SUMMARY", summary]], explained(flow, options));
    },
    lost(event, response) {
      const head = [["TIMESTAMP", timeOf(response.time, options)] as const, ...node(escapeTerminal(response.nodeName) || NOTHING)];
      return block([
        ...head,
        ["SOURCE", enumName(LostEventSource, event.source)],
        ["TYPE", "EVENTS LOST"],
        ["VERDICT", NOTHING],
        ["SUMMARY", lossText(event, options)],
      ]);
    },
  });
  return {
    ...lines,
    print(response) {
      const { responseTypes } = response;
      if (responseTypes.case !== "nodeStatus") lines.print(response);
      else if (isTold(response, options)) options.err(`${block(nodeStatusBlock(responseTypes.value, timeOf(response.time, options)))}\n`);
    },
  };
}

function tablePrinter(options: PrinterOptions): Printer {
  const uncolored = { ...options, color: noColor };
  const columns = (node: string) => (options.nodeName ? [node] : []);
  const rows: string[][] = [["TIMESTAMP", ...columns("NODE"), "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]];
  return {
    print(response) {
      const { responseTypes } = response;
      if (responseTypes.case === "flow") {
        const { time, node, source, destination, type, verdict, summary } = cellsOf(responseTypes.value, uncolored);
        rows.push([time, ...columns(node), source, destination, type, verdict, summary]);
      } else if (responseTypes.case === "lostEvents") {
        const event = responseTypes.value;
        const head = [timeOf(response.time, options), ...columns(escapeTerminal(response.nodeName) || NOTHING)];
        rows.push([...head, enumName(LostEventSource, event.source), NOTHING, "EVENTS LOST", NOTHING, lossText(event, options)]);
      } else printNodeStatus(response, options);
    },
    end() {
      if (rows.length > 1) options.out(`${alignRows(rows)}\n`);
    },
  };
}

function jsonPrinter(options: PrinterOptions): Printer {
  const registry = createRegistry(ExplanationSchema);
  return {
    print(response) {
      const { responseTypes } = response;
      if (responseTypes.case === undefined) return;
      if (!options.legacyJson) {
        const write = responseTypes.case === "nodeStatus" ? options.err : options.out;
        if (isTold(response, options)) write(`${jsonLine(GetFlowsResponseSchema, response, registry)}\n`);
      } else if (responseTypes.case === "flow") options.out(`${jsonLine(FlowSchema, responseTypes.value, registry)}\n`);
      else if (responseTypes.case === "lostEvents") options.out(`${jsonLine(LostEventSchema, responseTypes.value)}\n`);
    },
    end: () => undefined,
  };
}
