import type { LostEvent } from "#api/gen/flow/events_pb.ts";
import type { Flow } from "#api/gen/flow/flow_pb.ts";
import type { GetFlowsRequest, GetFlowsResponse } from "#api/gen/observer/observer_pb.ts";
import { nowNanoseconds } from "#monitor/events.ts";
import { compileFilters } from "../filters/build.ts";
import type { History } from "../history/history.ts";
import { timestampOf } from "../parser/messages.ts";
import { createLossFolder, lossTime, ringLoss } from "./losses.ts";
import { compileMask } from "./mask.ts";
import type { Entry, Observer } from "./observer.ts";
import { rangeOf, validated } from "./request.ts";
import { readSince } from "./since.ts";

export type FlowEntry = Extract<Entry, { readonly kind: "flow" }>;

/** What a stream of flows has: flows, and reports of those that were lost. */
export type StreamItem = FlowEntry | { readonly kind: "loss"; readonly event: LostEvent };

/** What a request asks for, as many items at once as are there. Throws InvalidArgument for a request that makes no sense. */
export async function* flowBatches(
  observer: Observer,
  history: History | undefined,
  request: GetFlowsRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly StreamItem[], void> {
  const matches = validated(() => compileFilters(request.whitelist, request.blacklist));
  const losses = createLossFolder();
  const wanted = (entry: Entry) => entry.kind === "flow" && matches(entry.flow);
  const due = (all = false) => losses.take(nowNanoseconds(), all).map((event) => ({ kind: "loss", event }) as const);
  for await (const batch of readSince(observer.ring, history, rangeOf(request), wanted, signal)) {
    const items: StreamItem[] = [];
    for (const item of batch) {
      if ("lost" in item) losses.add(ringLoss(item.lost, nowNanoseconds()));
      else if (item.entry.kind === "lost") losses.add(item.entry.event);
      else if (item.entry.kind === "flow") {
        items.push(item.entry);
        continue;
      }
      items.push(...due());
    }
    items.push(...due());
    if (items.length > 0) yield items;
  }
  const rest = due(true);
  if (rest.length > 0) yield rest;
}

/** How one client wants its flows: with which fields, and with our explanation or without. Throws InvalidArgument for an unknown field. */
export function createFlowView({ fieldMask }: GetFlowsRequest, explain: boolean): (flow: Flow) => Flow {
  const mask = validated(() => compileMask(fieldMask?.paths ?? []));
  return (flow) => mask(explain || flow.extensions === undefined ? flow : { ...flow, extensions: undefined });
}

/** An item as the message that carries it. */
export function responseOf(item: StreamItem, nodeName: string, view: (flow: Flow) => Flow): GetFlowsResponse {
  const [responseTypes, time] =
    item.kind === "flow"
      ? [{ case: "flow" as const, value: view(item.flow) }, item.time]
      : [{ case: "lostEvents" as const, value: item.event }, lossTime(item.event)];
  return { $typeName: "observer.GetFlowsResponse", responseTypes, nodeName, time: timestampOf(time) };
}
