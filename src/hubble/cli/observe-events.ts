import { toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import {
  type GetAgentEventsResponse,
  GetAgentEventsResponseSchema,
  GetDebugEventsResponseSchema,
  Observer,
} from "#api/gen/observer/observer_pb.ts";
import { agentEventCells } from "../printer/agent-events.ts";
import { formatTime } from "../printer/time.ts";
import { callFailure, connectServer } from "./connect.ts";
import type { CommandContext } from "./context.ts";
import { outputFormat } from "./observe.ts";
import { selectorsOf } from "./request.ts";

/** `hubble observe agent-events`. */
export async function observeAgentEvents(context: CommandContext): Promise<number> {
  const format = outputFormat(context.settings);
  let printed = 0;
  await stream(context, async (client, request) => {
    for await (const response of client.getAgentEvents(request, { signal: context.signal })) {
      if (format.startsWith("json")) context.out(`${toJsonString(GetAgentEventsResponseSchema, response, { useProtoFieldName: true })}\n`);
      else context.out(format === "dict" ? agentDict(context, response, printed++) : agentLine(context, response));
    }
  });
  return 0;
}

/** `hubble observe debug-events`. */
export async function observeDebugEvents(context: CommandContext): Promise<number> {
  await stream(context, async (client, request) => {
    for await (const response of client.getDebugEvents(request, { signal: context.signal })) {
      context.out(`${toJsonString(GetDebugEventsResponseSchema, response, { useProtoFieldName: true })}\n`);
    }
  });
  return 0;
}

type Client = ReturnType<typeof createClient<typeof Observer>>;

async function stream(
  context: CommandContext,
  run: (client: Client, request: ReturnType<typeof selectorsOf>) => Promise<void>,
): Promise<void> {
  const request = selectorsOf(context.settings);
  using connection = connectServer(context);
  try {
    await run(createClient(Observer, connection.transport), request);
  } catch (thrown) {
    if (!context.signal.aborted) throw callFailure(thrown, context.settings.text("server"));
  }
}

function agentLine(context: CommandContext, response: GetAgentEventsResponse): string {
  const { type, details } = agentEventCells(response.agentEvent);
  const node = context.settings.bool("print-node-name") ? ` [${response.nodeName}]` : "";
  return `${formatTime(response.time, context.settings.text("time-format"))}${node}: ${type} (${details})\n`;
}

function agentDict(context: CommandContext, response: GetAgentEventsResponse, printed: number): string {
  const { type, details } = agentEventCells(response.agentEvent);
  const rows: (readonly [string, string])[] = [["TIMESTAMP", formatTime(response.time, context.settings.text("time-format"))]];
  if (context.settings.bool("print-node-name")) rows.push(["NODE", response.nodeName]);
  rows.push(["TYPE", type], ["DETAILS", details]);
  return `${printed === 0 ? "" : "------------\n"}${rows.map(([key, value]) => `${key.padStart(11)}: ${value}\n`).join("")}`;
}
