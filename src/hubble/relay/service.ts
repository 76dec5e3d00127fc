import { Code, ConnectError, createClient, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { type Node, Observer, type ServerStatusResponse } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
import { compileFilters } from "../filters/build.ts";
import { EXPLAIN_HEADER } from "../observer/explain-header.ts";
import { lossesOf, tellLosses } from "../observer/losses-header.ts";
import { compileMask } from "../observer/mask.ts";
import { validated } from "../observer/request.ts";
import { type FlowsConfig, relayFlows } from "./flows.ts";
import type { PeerPool, PoolNode } from "./pool.ts";
import { createWorkloadBook } from "./workloads.ts";

/** Name of the relay's version in the response's metadata. */
const RELAY_VERSION_HEADER = "hubble-relay-version";
const UNARY_TIMEOUT_MS = 12_000;

/** Whether a field mask has both ends' workloads in it. */
function wantsWorkloads(paths: readonly string[]): boolean {
  const has = (end: string) => paths.includes(end) || paths.includes(`${end}.workloads`);
  return paths.length === 0 || (has("source") && has("destination"));
}

/** The observer's methods over all nodes. */
export function relayService(pool: PeerPool, version: string, config: FlowsConfig): ServiceImpl<typeof Observer> {
  const announce = (context: HandlerContext) => context.responseHeader.set(RELAY_VERSION_HEADER, version);
  const workloads = createWorkloadBook();
  const nodeOnly = (method: string) => new ConnectError(`${method} not implemented: ask an agent`, Code.Unimplemented);
  return {
    async *getFlows(request, context) {
      announce(context);
      // What no node could understand is refused here, once.
      validated(() => compileFilters(request.whitelist, request.blacklist));
      validated(() => compileMask(request.fieldMask?.paths ?? []));
      const explain = context.requestHeader.get(EXPLAIN_HEADER);
      const flows = relayFlows(pool, request, explain === null ? {} : { [EXPLAIN_HEADER]: explain }, context.signal, config);
      const fills = wantsWorkloads(request.fieldMask?.paths ?? []);
      for await (const response of flows) {
        if (fills && response.responseTypes.case === "flow") workloads.complete(response.responseTypes.value);
        yield response;
      }
    },
    // biome-ignore lint/correctness/useYield: refuses
    async *getAgentEvents() {
      throw nodeOnly("GetAgentEvents");
    },
    // biome-ignore lint/correctness/useYield: refuses
    async *getDebugEvents() {
      throw nodeOnly("GetDebugEvents");
    },
    async getNodes(_, context) {
      announce(context);
      return { nodes: await Promise.all(pool.nodes().map((node) => describeNode(node, context.signal))) };
    },
    async getNamespaces(_, context) {
      announce(context);
      const answers = await askConnected(pool, (node) => createClient(Observer, node.transport).getNamespaces({}, limits(context.signal)));
      const seen = new Map(
        answers.flatMap(({ answer }) => answer?.namespaces ?? []).map((found) => [`${found.cluster}/${found.namespace}`, found]),
      );
      return { namespaces: [...seen.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found) };
    },
    async serverStatus(_, context) {
      announce(context);
      const { losses, status } = await sumStatus(pool, version, context.signal);
      tellLosses(context.responseHeader, losses);
      return status;
    },
  };
}

function limits(signal: AbortSignal) {
  return { signal, timeoutMs: UNARY_TIMEOUT_MS };
}

function askStatus(node: PoolNode, signal: AbortSignal, onHeader?: (headers: Headers) => void): Promise<ServerStatusResponse> {
  return createClient(Observer, node.transport).serverStatus({}, { ...limits(signal), ...(onHeader && { onHeader }) });
}

interface Answer<T> {
  readonly node: PoolNode;
  /** Undefined: not connected, or no answer in time. */
  readonly answer: T | undefined;
}

async function askConnected<T>(pool: PeerPool, ask: (node: PoolNode) => Promise<T>): Promise<Answer<T>[]> {
  const settle = async (node: PoolNode): Promise<Answer<T>> => {
    if (!node.connected) return { node, answer: undefined };
    try {
      return { node, answer: await ask(node) };
    } catch {
      // The node counts as unavailable, which is what the caller reports.
      return { node, answer: undefined };
    }
  };
  return Promise.all(pool.nodes().map(settle));
}

async function describeNode(node: PoolNode, signal: AbortSignal): Promise<Node> {
  const { name, address, tlsServerName } = node.peer;
  const blank = { version: "", uptimeNs: 0n, numFlows: 0n, maxFlows: 0n, seenFlows: 0n };
  const tls = { $typeName: "observer.TLS" as const, enabled: node.secure, serverName: tlsServerName ?? "" };
  const make = (state: NodeState, numbers: typeof blank): Node => ({ $typeName: "observer.Node", name, address, tls, state, ...numbers });
  if (!node.connected) return make(NodeState.NODE_UNAVAILABLE, blank);
  try {
    const { version, uptimeNs, numFlows, maxFlows, seenFlows } = await askStatus(node, signal);
    return make(NodeState.NODE_CONNECTED, { version, uptimeNs, numFlows, maxFlows, seenFlows });
  } catch {
    // Connected, yet no answer in time: the state says so.
    return make(NodeState.NODE_ERROR, blank);
  }
}

async function sumStatus(pool: PeerPool, version: string, signal: AbortSignal) {
  const losses = { events: 0n, history: 0n };
  const addLost = (headers: Headers) => {
    const { events, history } = lossesOf(headers);
    losses.events += events;
    losses.history += history;
  };
  const answers = await askConnected(pool, (node) => askStatus(node, signal, addLost));
  const answered = answers.flatMap(({ answer }) => (answer === undefined ? [] : [answer]));
  const missing = answers.filter(({ answer }) => answer === undefined).map(({ node }) => node.peer.name);
  const sum = (field: "numFlows" | "maxFlows" | "seenFlows") => answered.reduce((total, answer) => total + answer[field], 0n);
  const status = {
    numFlows: sum("numFlows"),
    maxFlows: sum("maxFlows"),
    seenFlows: sum("seenFlows"),
    uptimeNs: answered.reduce((least, { uptimeNs }) => (least === 0n || uptimeNs < least ? uptimeNs : least), 0n),
    flowsRate: answered.reduce((total, { flowsRate }) => total + flowsRate, 0),
    numConnectedNodes: answered.length,
    numUnavailableNodes: missing.length,
    unavailableNodes: missing.slice(0, 10),
    version,
  };
  return { losses, status };
}
