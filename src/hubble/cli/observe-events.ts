import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { GetAgentEventsResponseSchema, GetDebugEventsResponseSchema, Observer } from "#api/gen/observer/observer_pb.ts";
import { agentEventCells } from "../printer/agent-events.ts";
import { debugEventCells, debugEventForms } from "../printer/debug-events.ts";
import { createEventPrinter } from "../printer/event-printer.ts";
import { jsonLine } from "../printer/json-line.ts";
import { formatTime } from "../printer/time.ts";
import { UsageError } from "./args.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";
import { outputFormat, timeFormatOf } from "./observe.ts";
import { selectorsOf } from "./request.ts";

/** `hubble observe agent-events`. */
export async function observeAgentEvents(context: CommandContext): Promise<number> {
  const printer = eventPrinter(context, ["TYPE", "DETAILS"]);
  const timeFormat = timeFormatOf(context.settings);
  await stream(context, async (client, request) => {
    for await (const response of client.getAgentEvents(request, { signal: context.signal })) {
      if (printer === undefined) writeJson(context, GetAgentEventsResponseSchema, response);
      else {
        const { type, details } = agentEventCells(response.agentEvent, timeFormat);
        const dict = [["TYPE", type] as const, ["DETAILS", details] as const];
        printer.print(timeOf(context, response), response.nodeName, { compact: `${type} (${details})`, dict, row: [type, details] });
      }
    }
  });
  printer?.end();
  return 0;
}

/** `hubble observe debug-events`. */
export async function observeDebugEvents(context: CommandContext): Promise<number> {
  const printer = eventPrinter(context, ["FROM", "", "TYPE", "CPU/MARK", "MESSAGE"]);
  await stream(context, async (client, request) => {
    for await (const response of client.getDebugEvents(request, { signal: context.signal })) {
      if (printer === undefined) writeJson(context, GetDebugEventsResponseSchema, response);
      else printer.print(timeOf(context, response), response.nodeName, debugEventForms(debugEventCells(response.debugEvent)));
    }
  });
  printer?.end();
  return 0;
}

/** Undefined: JSON is wanted. */
function eventPrinter({ settings, out }: CommandContext, header: readonly string[]) {
  const format = outputFormat(settings);
  if (format === "table" && settings.bool("follow")) throw new UsageError("table output format is not compatible with follow mode");
  if (format === "json" || format === "jsonpb") return undefined;
  return createEventPrinter({ format, header, nodeName: settings.bool("print-node-name"), out });
}

function timeOf({ settings }: CommandContext, { time }: { readonly time?: Timestamp | undefined }): string {
  return formatTime(time, timeFormatOf(settings));
}

function writeJson<Desc extends DescMessage>({ out }: CommandContext, schema: Desc, message: MessageShape<Desc>): void {
  out(`${jsonLine(schema, message)}\n`);
}

type Client = ReturnType<typeof createClient<typeof Observer>>;

async function stream(
  context: CommandContext,
  run: (client: Client, request: Omit<ReturnType<typeof selectorsOf>, "first">) => Promise<void>,
): Promise<void> {
  const { number, follow, since, until } = selectorsOf(context.settings);
  const request = { number, follow, since, until };
  using connection = connectServer(context);
  try {
    await run(createClient(Observer, connection.transport), request);
  } catch (thrown) {
    if (!context.signal.aborted) throw callFailure(thrown, context.settings.text("server"));
  }
}
