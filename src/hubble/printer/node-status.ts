import { NodeState, type NodeStatusEvent } from "#api/gen/relay/relay_pb.ts";
import { escapeTerminal } from "./escape.ts";

const LIST_LIMIT = 50;

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
      return message === ""
        ? `Error encountered on ${count} nodes: ${list}`
        : `Error "${escapeTerminal(message)}" encountered on ${count} nodes: ${list}`;
    default:
      return debug ? `unknown node state of ${list}` : undefined;
  }
}

/** Names up to fifty characters, then how many more there are. */
function joined(names: readonly string[]): string {
  let text = "";
  for (const [index, name] of names.entries()) {
    const next = text === "" ? name : `${text}, ${name}`;
    if (next.length > LIST_LIMIT && text !== "") return `${text} (and ${names.length - index} more)`;
    text = next;
  }
  return text;
}
