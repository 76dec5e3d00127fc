import { NodeState, type NodeStatusEvent } from "#api/gen/relay/relay_pb.ts";
import { enumName } from "../enum-names.ts";
import { escapeTerminal } from "./escape.ts";

const LIST_LIMIT = 50;
const SEPARATOR = ", ";

/** What the relay says of its nodes, as text; undefined for good news, which only `debug` shows. */
export function nodeStatusText({ stateChange, nodeNames, message }: NodeStatusEvent, debug: boolean): string | undefined {
  const count = nodeNames.length;
  const list = escapeTerminal(joined(nodeNames));
  switch (stateChange) {
    case NodeState.NODE_CONNECTED:
      return debug ? `Receiving flows from ${count} nodes: ${list}` : undefined;
    case NodeState.NODE_UNAVAILABLE:
      return `${count} nodes are unavailable: ${list}${message === "" ? "" : `: ${escapeTerminal(message)}`}`;
    case NodeState.NODE_GONE:
      return debug ? `${count} nodes removed from cluster: ${list}` : undefined;
    case NodeState.NODE_ERROR:
      return `Error ${quoted(message)} on ${count} nodes: ${list}`;
    default:
      return debug ? `unknown node state of ${list}` : undefined;
  }
}

/** The same as the block of the dict format. */
export function nodeStatusBlock({ stateChange, nodeNames, message }: NodeStatusEvent, time: string): (readonly [string, string])[] {
  return [
    ["TIMESTAMP", time],
    ["STATE", enumName(NodeState, stateChange)],
    ["NODES", escapeTerminal(joined(nodeNames))],
    ["MESSAGE", message === "" ? "N/A" : quoted(message)],
  ];
}

/** A text in Go's notation of strings. */
function quoted(message: string): string {
  return JSON.stringify(message).replace(/\\u00([01][0-9a-f])/g, (_, code: string) => GO_ESCAPES[code] ?? `\\x${code}`);
}

const GO_ESCAPES: Readonly<Record<string, string>> = { "07": "\\a", "0b": "\\v" };

/** Names up to fifty characters, then how many more there are. */
function joined(names: readonly string[]): string {
  let length = 0;
  const end = names.findIndex((name, index) => {
    length += name.length + SEPARATOR.length;
    return length > LIST_LIMIT && index > 0;
  });
  return end < 0 ? names.join(SEPARATOR) : `${names.slice(0, end).join(SEPARATOR)} (and ${names.length - end} more)`;
}
