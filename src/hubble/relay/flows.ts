import { ConnectError, createClient } from "@connectrpc/connect";
import { type GetFlowsRequest, type GetFlowsResponse, Observer } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
import { nowNanoseconds } from "#monitor/events.ts";
import { nanosecondsOf, timestampOf } from "../parser/messages.ts";
import { TimeMerge } from "./merge.ts";
import type { PeerPool, PoolNode } from "./pool.ts";

export interface FlowsConfig {
  /** Name under which the relay itself reports. */
  readonly nodeName: string;
  readonly sortBufferDrainMs: number;
  readonly sortBufferLength: number;
  /** Identical errors within this time are reported once. */
  readonly errorWindowMs: number;
}

const REJOIN_MS = 1000;

/**
 * The flows of all nodes as one stream in the order of time. It begins with which nodes are connected and which are not; nodes that
 * come later join a stream that follows, and errors are reported as they happen.
 */
export async function* relayFlows(
  pool: PeerPool,
  request: GetFlowsRequest,
  headers: Record<string, string>,
  signal: AbortSignal,
  config: FlowsConfig,
): AsyncGenerator<GetFlowsResponse, void> {
  const stop = new AbortController();
  const all = AbortSignal.any([signal, stop.signal]);
  const lanes = new Map<AsyncIterable<GetFlowsResponse>, string>();
  const lastSeen = new Map<string, bigint>();
  const errors = createErrorFolder(config);
  const startedAt = nowNanoseconds();
  const merge = new TimeMerge<GetFlowsResponse>({
    timeOf: ({ time }) => (time === undefined ? undefined : nanosecondsOf(time)),
    drainMs: config.sortBufferDrainMs,
    perStream: config.sortBufferLength,
    onError(stream, thrown) {
      const name = lanes.get(stream);
      if (name === undefined || all.aborted) return;
      const event = errors.add(name, ConnectError.from(thrown).rawMessage);
      if (event !== undefined) merge.insert(event);
    },
    onEnd(stream) {
      lanes.delete(stream);
      // The node may be back before the pool notices that it was away.
      if (request.follow && !all.aborted) setTimeout(joinLate, REJOIN_MS).unref();
    },
  });
  const join = ({ peer, transport }: PoolNode, asked: GetFlowsRequest) => {
    const stream = createClient(Observer, transport).getFlows(asked, { signal: all, headers });
    lanes.set(stream, peer.name);
    merge.add(stream);
  };
  const report = (state: NodeState, nodes: readonly PoolNode[]) => {
    if (nodes.length > 0)
      merge.insert(
        statusResponse(
          config.nodeName,
          state,
          nodes.map(({ peer }) => peer.name),
        ),
      );
  };
  /** Nodes that came, or came back: of them only what is new, as the beginning was for the nodes of that moment. */
  const joinLate = () => {
    if (!request.follow || all.aborted) return;
    const joined = new Set(lanes.values());
    const fresh = pool.nodes().filter(({ connected, peer }) => connected && !joined.has(peer.name));
    report(NodeState.NODE_CONNECTED, fresh);
    for (const node of fresh) {
      const since = timestampOf((lastSeen.get(node.peer.name) ?? startedAt) + 1n);
      join(node, { ...request, number: 0n, since });
    }
  };
  const nodes = pool.nodes();
  const connected = nodes.filter((node) => node.connected);
  report(NodeState.NODE_CONNECTED, connected);
  report(
    NodeState.NODE_UNAVAILABLE,
    nodes.filter((node) => !node.connected),
  );
  for (const node of connected) join(node, request);
  using _ = pool.onChange(joinLate);
  try {
    for await (const response of merge.read(signal, request.follow)) {
      if (request.follow && response.time !== undefined) lastSeen.set(response.nodeName, nanosecondsOf(response.time));
      yield response;
    }
  } finally {
    stop.abort();
  }
}

/** A message about nodes. */
function statusResponse(nodeName: string, stateChange: NodeState, nodeNames: string[], message = ""): GetFlowsResponse {
  const value = { $typeName: "relay.NodeStatusEvent" as const, stateChange, nodeNames, message };
  return {
    $typeName: "observer.GetFlowsResponse",
    responseTypes: { case: "nodeStatus", value },
    nodeName,
    time: timestampOf(nowNanoseconds()),
  };
}

/** Says an error of a node once in a while. */
function createErrorFolder(config: FlowsConfig): { add(node: string, message: string): GetFlowsResponse | undefined } {
  const saidAt = new Map<string, number>();
  return {
    add(node, message) {
      const key = `${node}\n${message}`;
      const now = performance.now();
      if (now - (saidAt.get(key) ?? Number.NEGATIVE_INFINITY) < config.errorWindowMs) return undefined;
      saidAt.set(key, now);
      return statusResponse(config.nodeName, NodeState.NODE_ERROR, [node], message);
    },
  };
}
