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
  const running = new Map<string, AsyncIterable<GetFlowsResponse>>();
  const errors = createErrorFolder(config);
  const merge = new TimeMerge<GetFlowsResponse>({
    timeOf: ({ time }) => (time === undefined ? undefined : nanosecondsOf(time)),
    drainMs: config.sortBufferDrainMs,
    perStream: config.sortBufferLength,
    onError(stream, thrown) {
      const name = nameOf(running, stream);
      if (name === undefined || all.aborted) return;
      const event = errors.add(name, ConnectError.from(thrown).rawMessage);
      if (event !== undefined) merge.insert(event);
    },
    onEnd(stream) {
      const name = nameOf(running, stream);
      if (name !== undefined) running.delete(name);
    },
  });
  const join = (nodes: readonly PoolNode[], asked: GetFlowsRequest) => {
    for (const { peer, transport } of nodes) {
      const stream = createClient(Observer, transport).getFlows(asked, { signal: all, headers });
      running.set(peer.name, stream);
      merge.add(stream);
    }
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
  const nodes = pool.nodes();
  report(
    NodeState.NODE_CONNECTED,
    nodes.filter(({ connected }) => connected),
  );
  report(
    NodeState.NODE_UNAVAILABLE,
    nodes.filter(({ connected }) => !connected),
  );
  join(
    nodes.filter(({ connected }) => connected),
    request,
  );
  using _ = pool.onChange(() => {
    if (!request.follow) return;
    const fresh = pool.nodes().filter(({ connected, peer }) => connected && !running.has(peer.name));
    report(NodeState.NODE_CONNECTED, fresh);
    // What came before was for the nodes of that moment: a late node only adds what is new.
    join(fresh, { ...request, number: 0n, since: timestampOf(nowNanoseconds()) });
  });
  try {
    yield* merge.read(signal, request.follow);
  } finally {
    stop.abort();
  }
}

function nameOf(running: ReadonlyMap<string, unknown>, stream: unknown): string | undefined {
  for (const [name, value] of running) if (value === stream) return name;
  return undefined;
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
