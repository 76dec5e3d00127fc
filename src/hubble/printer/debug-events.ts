import { type DebugEvent, DebugEventType } from "#api/gen/flow/events_pb.ts";
import type { Endpoint } from "#api/gen/flow/flow_pb.ts";
import { enumName } from "../enum-names.ts";
import { escapeTerminal } from "./escape.ts";
import type { EventForms } from "./event-printer.ts";

/** The parts of a debug event, in upstream's words. */
export interface DebugEventCells {
  readonly from: string;
  readonly type: string;
  readonly mark: string;
  readonly cpu: string;
  readonly message: string;
}

export function debugEventCells(event: DebugEvent | undefined): DebugEventCells {
  return {
    from: escapeTerminal(endpointText(event?.source)),
    type: enumName(DebugEventType, event?.type ?? 0),
    mark: event?.hash === undefined ? "N/A" : `0x${event.hash.toString(16)}`,
    cpu: event?.cpu === undefined ? "N/A" : String(event.cpu).padStart(2, "0"),
    message: escapeTerminal(event?.message ?? ""),
  };
}

/** A debug event as lines, block and row. */
export function debugEventForms({ from, type, mark, cpu, message }: DebugEventCells): EventForms {
  return {
    compact: `${from} ${type} MARK: ${mark} CPU: ${cpu} (${message})`,
    dict: [
      ["TYPE", type],
      ["FROM", from],
      ["MARK", mark],
      ["CPU", cpu],
      ["MESSAGE", message],
    ],
    row: [from, "", type, `${cpu} ${mark}`, message],
  };
}

function endpointText(endpoint: Endpoint | undefined): string {
  if (endpoint === undefined) return "N/A";
  const { ID, namespace, podName, labels } = endpoint;
  const [only = ""] = labels;
  if (namespace !== "" && podName !== "") return `${namespace}/${podName} (ID: ${ID})`;
  return labels.length === 1 && only.startsWith("reserved:") ? `${only} (ID: ${ID})` : `ID: ${ID}`;
}
