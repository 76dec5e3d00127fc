import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { aborted } from "#runtime/scope.ts";
import type { History } from "../history/history.ts";
import { timestampOf } from "../parser/messages.ts";
import { EXPLAIN_HEADER } from "./explain-header.ts";
import { createFlowView, flowBatches, responseOf } from "./flows.ts";
import { tellLosses } from "./losses-header.ts";
import type { Entry, Observer } from "./observer.ts";
import { readRange } from "./range.ts";
import { rangeOf } from "./request.ts";

/** Name of the server's version in the response's metadata. */
export const AGENT_VERSION_HEADER = "hubble-server-version";

/** The observer's gRPC methods over one node's ring, and over its history when a time is asked for that the ring has forgotten. */
export function observerService(observer: Observer, history?: History): ServiceImpl<typeof ObserverService> {
  const { names, ring } = observer;
  const announce = (context: HandlerContext) => context.responseHeader.set(AGENT_VERSION_HEADER, observer.version);
  return {
    async *getFlows(request, context) {
      announce(context);
      const view = createFlowView(request, context.requestHeader.has(EXPLAIN_HEADER));
      for await (const batch of flowBatches(observer, history, request, context.signal)) {
        for (const item of batch) yield responseOf(item, names.nodeName, view);
      }
    },
    async *getAgentEvents(request, context) {
      announce(context);
      const isAgent = (entry: Entry) => entry.kind === "agent";
      for await (const batch of readRange(ring, rangeOf(request), isAgent, context.signal)) {
        for (const item of batch) {
          if (!("entry" in item) || item.entry.kind !== "agent") continue;
          yield { agentEvent: item.entry.event, nodeName: names.nodeName, time: timestampOf(item.entry.time) };
        }
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
      const { flows, maxFlows, seenFlows, uptimeNs, flowsPerSecond, lostEvents } = observer.status();
      tellLosses(context.responseHeader, { events: lostEvents, history: BigInt(history?.lost() ?? 0) });
      const { version } = observer;
      return { numFlows: BigInt(flows), maxFlows: BigInt(maxFlows), seenFlows, uptimeNs, flowsRate: flowsPerSecond, version };
    },
  };
}
