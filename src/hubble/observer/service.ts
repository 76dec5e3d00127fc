import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { LostEvent } from "#api/gen/flow/events_pb.ts";
import type { Flow } from "#api/gen/flow/flow_pb.ts";
import type { GetFlowsRequest, GetFlowsResponse, Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { nowNanoseconds } from "#monitor/events.ts";
import { aborted } from "#runtime/scope.ts";
import { compileFilters } from "../filters/build.ts";
import { FilterError } from "../filters/text.ts";
import type { History } from "../history/history.ts";
import { nanosecondsOf, timestampOf } from "../parser/messages.ts";
import { EXPLAIN_HEADER } from "./explain-header.ts";
import { createLossFolder, lossTime, ringLoss } from "./losses.ts";
import { compileMask } from "./mask.ts";
import type { Entry, Observer } from "./observer.ts";
import { type RangeRequest, readRange } from "./range.ts";
import { readSince } from "./since.ts";

/** Name of the server's version in the response's metadata. */
export const AGENT_VERSION_HEADER = "hubble-server-version";

type Limits = Pick<GetFlowsRequest, "number" | "first" | "follow"> & { since?: Timestamp | undefined; until?: Timestamp | undefined };

/** The observer's gRPC methods over one node's ring, and over its history when a time is asked for that the ring has forgotten. */
export function observerService(observer: Observer, history?: History): ServiceImpl<typeof ObserverService> {
  const { names, ring } = observer;
  const announce = (context: HandlerContext) => context.responseHeader.set(AGENT_VERSION_HEADER, observer.version);
  return {
    async *getFlows(request, context) {
      announce(context);
      yield* getFlows(observer, history, request, context.signal, context.requestHeader.has(EXPLAIN_HEADER));
    },
    async *getAgentEvents(request, context) {
      announce(context);
      const isAgent = (entry: Entry) => entry.kind === "agent";
      for await (const item of readRange(ring, rangeOf(request), isAgent, context.signal)) {
        if (!("entry" in item) || item.entry.kind !== "agent") continue;
        yield { agentEvent: item.entry.event, nodeName: names.nodeName, time: timestampOf(item.entry.time) };
      }
    },
    // Our datapath has no debug events: the stream is empty, and with `follow` stays open as upstream's does.
    // biome-ignore lint/correctness/useYield: an empty stream
    async *getDebugEvents(request, context) {
      announce(context);
      if (request.follow) await aborted(context.signal);
    },
    getNodes() {
      throw new ConnectError("GetNodes not implemented: ask the relay", Code.Unimplemented);
    },
    getNamespaces(_, context) {
      announce(context);
      return { namespaces: observer.namespaces.list().map((found) => ({ ...found })) };
    },
    serverStatus(_, context) {
      announce(context);
      const { flows, maxFlows, seenFlows, uptimeNs, flowsPerSecond } = observer.status();
      const { version } = observer;
      return { numFlows: BigInt(flows), maxFlows: BigInt(maxFlows), seenFlows, uptimeNs, flowsRate: flowsPerSecond, version };
    },
  };
}

/** Reads the limits of any of the three streams. Throws InvalidArgument for limits that contradict each other. */
export function rangeOf(limits: Limits): RangeRequest {
  if (limits.first && limits.follow) throw new ConnectError("first cannot be specified with follow", Code.InvalidArgument);
  const time = (stamp: Limits["since"]) => (stamp === undefined ? undefined : nanosecondsOf(stamp));
  const number = limits.number > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(limits.number);
  return { number, first: limits.first, follow: limits.follow, since: time(limits.since), until: time(limits.until) };
}

/** `make`, with a filter nobody can understand reported as InvalidArgument. */
export function validated<T>(make: () => T): T {
  try {
    return make();
  } catch (thrown) {
    if (thrown instanceof FilterError) throw new ConnectError(thrown.message, Code.InvalidArgument);
    throw thrown;
  }
}

async function* getFlows(
  observer: Observer,
  history: History | undefined,
  request: GetFlowsRequest,
  signal: AbortSignal,
  explain: boolean,
): AsyncGenerator<GetFlowsResponse, void> {
  const matches = validated(() => compileFilters(request.whitelist, request.blacklist));
  const mask = validated(() => compileMask(request.fieldMask?.paths ?? []));
  const { nodeName } = observer.names;
  const losses = createLossFolder();
  const wanted = (entry: Entry) => entry.kind === "flow" && matches(entry.flow);
  for await (const item of readSince(observer.ring, history, rangeOf(request), wanted, signal)) {
    if ("lost" in item) losses.add(ringLoss(item.lost, nowNanoseconds()));
    else if (item.entry.kind === "lost") losses.add(item.entry.event);
    const now = nowNanoseconds();
    for (const event of losses.take(now)) yield lossResponse(event, nodeName);
    if (!("entry" in item) || item.entry.kind !== "flow") continue;
    const { flow, time } = item.entry;
    yield flowResponse(mask(explain ? flow : withoutExtensions(flow)), nodeName, time);
  }
  for (const event of losses.take(nowNanoseconds(), true)) yield lossResponse(event, nodeName);
}

function withoutExtensions(flow: Flow): Flow {
  return flow.extensions === undefined ? flow : { ...flow, extensions: undefined };
}

function flowResponse(flow: Flow, nodeName: string, time: bigint): GetFlowsResponse {
  return { $typeName: "observer.GetFlowsResponse", responseTypes: { case: "flow", value: flow }, nodeName, time: timestampOf(time) };
}

function lossResponse(event: LostEvent, nodeName: string): GetFlowsResponse {
  return {
    $typeName: "observer.GetFlowsResponse",
    responseTypes: { case: "lostEvents", value: event },
    nodeName,
    time: timestampOf(lossTime(event)),
  };
}
