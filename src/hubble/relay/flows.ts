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
const LOOK_BACK_DRAINS = 5;

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
  const collector = new FlowCollector(pool, request, headers, AbortSignal.any([signal, stop.signal]), config);
  collector.begin();
  using _ = pool.onChange(() => collector.joinLate());
  try {
    yield* collector.read();
  } finally {
    stop.abort();
  }
}

/** The streams of one request, one a node. */
class FlowCollector {
  readonly #pool: PeerPool;
  readonly #request: GetFlowsRequest;
  readonly #headers: Record<string, string>;
  readonly #signal: AbortSignal;
  readonly #nodeName: string;
  readonly #errors: ReturnType<typeof createErrorFolder>;
  readonly #merge: TimeMerge<GetFlowsResponse>;
  /** Streams that run, with their node's name. */
  readonly #lanes = new Map<AsyncIterable<GetFlowsResponse>, string>();
  readonly #lastSeen = new Map<string, bigint>();
  readonly #startedAt = nowNanoseconds();

  constructor(pool: PeerPool, request: GetFlowsRequest, headers: Record<string, string>, signal: AbortSignal, config: FlowsConfig) {
    this.#pool = pool;
    this.#request = request;
    this.#headers = headers;
    this.#signal = signal;
    this.#nodeName = config.nodeName;
    this.#errors = createErrorFolder(config);
    this.#merge = new TimeMerge<GetFlowsResponse>({
      timeOf: ({ time }) => (time === undefined ? undefined : nanosecondsOf(time)),
      // Nodes that only have to look back answer, if they are not stuck: a machine that is busy gets time for it.
      drainMs: request.follow ? config.sortBufferDrainMs : LOOK_BACK_DRAINS * config.sortBufferDrainMs,
      finite: !request.follow,
      perStream: config.sortBufferLength,
      onError: (stream, thrown) => this.#failed(stream, thrown),
      onEnd: (stream) => this.#ended(stream),
    });
  }

  /** Asks the nodes of this moment. */
  begin(): void {
    const nodes = this.#pool.nodes();
    const connected = nodes.filter((node) => node.connected);
    this.#report(NodeState.NODE_CONNECTED, connected);
    this.#report(
      NodeState.NODE_UNAVAILABLE,
      nodes.filter((node) => !node.connected),
    );
    for (const node of connected) this.#join(node, this.#request);
  }

  /** Nodes that came, or came back: of them only what is new, as the beginning was for the nodes of that moment. */
  joinLate(): void {
    if (!this.#request.follow || this.#signal.aborted) return;
    const joined = new Set(this.#lanes.values());
    const fresh = this.#pool.nodes().filter(({ connected, peer }) => connected && !joined.has(peer.name));
    this.#report(NodeState.NODE_CONNECTED, fresh);
    for (const node of fresh) {
      const since = timestampOf((this.#lastSeen.get(node.peer.name) ?? this.#startedAt) + 1n);
      this.#join(node, { ...this.#request, number: 0n, since });
    }
  }

  async *read(): AsyncGenerator<GetFlowsResponse, void> {
    const { follow } = this.#request;
    for await (const response of this.#merge.read(this.#signal, follow)) {
      if (follow && response.time !== undefined) this.#lastSeen.set(response.nodeName, nanosecondsOf(response.time));
      yield response;
    }
  }

  #join({ peer, transport }: PoolNode, asked: GetFlowsRequest): void {
    const stream = createClient(Observer, transport).getFlows(asked, { signal: this.#signal, headers: this.#headers });
    this.#lanes.set(stream, peer.name);
    this.#merge.add(stream);
  }

  #report(state: NodeState, nodes: readonly PoolNode[]): void {
    const names = nodes.map(({ peer }) => peer.name);
    const reasons = new Set(nodes.flatMap(({ reason }) => reason ?? []));
    if (names.length > 0) this.#merge.insert(statusResponse(this.#nodeName, state, names, [...reasons].join("; ")));
  }

  #failed(stream: AsyncIterable<GetFlowsResponse>, thrown: unknown): void {
    const name = this.#lanes.get(stream);
    if (name === undefined || this.#signal.aborted) return;
    const event = this.#errors.add(name, ConnectError.from(thrown).rawMessage);
    if (event !== undefined) this.#merge.insert(event);
  }

  #ended(stream: AsyncIterable<GetFlowsResponse>): void {
    this.#lanes.delete(stream);
    // The node may be back before the pool notices that it was away.
    if (this.#request.follow && !this.#signal.aborted) setTimeout(() => this.joinLate(), REJOIN_MS).unref();
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
