import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { create, createRegistry, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { ExplanationSchema } from "#api/gen/cilia/explanation_pb.ts";
import { type FlowFilterSchema, Verdict } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsRequest, GetFlowsRequestSchema, GetFlowsResponseSchema, Observer } from "#api/gen/observer/observer_pb.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { openConnection } from "../client/transport.ts";
import { EXPLAIN_HEADER } from "../observer/explain-header.ts";
import { timestampOf } from "../parser/messages.ts";

/** Flows of each node that a page gets at most before the live ones: more than it draws, less than it chokes on. */
const MAX_PAST = 2000n;
/** Fields the page shows; a flow has three times as many. */
const FIELDS = [
  "time",
  "uuid",
  "verdict",
  "drop_reason_desc",
  "event_type",
  "Type",
  "is_reply",
  "IP",
  "l4",
  "l7",
  "source",
  "destination",
  "source_names",
  "destination_names",
  "source_service",
  "destination_service",
  "traffic_direction",
  "node_name",
  "Summary",
  "egress_allowed_by",
  "ingress_allowed_by",
  "egress_denied_by",
  "ingress_denied_by",
  "extensions",
];

/** Denied flows of each node that a page gets besides: among many forwarded ones they would be missed. */
const MAX_DENIED = 1000n;
const DENIED = [Verdict.DROPPED, Verdict.ERROR, Verdict.AUDIT];

/**
 * The requests of a page, one after the other: `?since=MS&until=MS&namespace=NAME`, milliseconds since 1970; without `until` the last follows.
 * Undefined for a time that is none.
 */
export function pageRequests(query: URLSearchParams, nowMs = Date.now()): GetFlowsRequest[] | undefined {
  const stamp = (name: string) => {
    const text = query.get(name);
    return text === null ? undefined : /^\d{1,15}$/.test(text) ? timestampOf(BigInt(text) * 1_000_000n) : null;
  };
  const [since, until] = [stamp("since"), stamp("until")];
  if (since === null || until === null) return undefined;
  const fieldMask = { paths: FIELDS };
  const start = since === undefined ? {} : { since };
  const past = { until: until ?? timestampOf(BigInt(nowMs) * 1_000_000n) };
  const end = until === undefined ? { follow: true } : past;
  const namespace = query.get("namespace") ?? "";
  return [
    create(GetFlowsRequestSchema, { number: MAX_DENIED, fieldMask, ...start, ...past, whitelist: filters(namespace, { verdict: DENIED }) }),
    create(GetFlowsRequestSchema, { number: MAX_PAST, fieldMask, ...start, ...end, whitelist: filters(namespace, {}) }),
  ];
}

function filters(namespace: string, filter: MessageInitShape<typeof FlowFilterSchema>): MessageInitShape<typeof FlowFilterSchema>[] {
  if (namespace === "") return filter.verdict === undefined ? [] : [filter];
  const pods = [`${namespace}/`];
  return [
    { ...filter, sourcePod: pods },
    { ...filter, destinationPod: pods },
    { ...filter, destinationService: pods },
  ];
}

/** Sends flows as server-sent events, one relay stream a page; it ends with the page. A slow page slows its own stream only. */
export function streamFlows(
  relay: string,
  wanted: readonly GetFlowsRequest[],
  request: IncomingMessage,
  response: ServerResponse,
  log: Logger,
): void {
  const gone = new AbortController();
  request.on("close", () => gone.abort());
  response.write(": flows\n\n");
  follow(relay, wanted, response, gone.signal).catch((thrown: unknown) => {
    if (gone.signal.aborted) return;
    log.warn("lost the relay", { relay, error: errorMessage(thrown) });
    response.end(`event: failure\ndata: ${JSON.stringify(errorMessage(thrown))}\n\n`);
  });
}

async function follow(relay: string, wanted: readonly GetFlowsRequest[], response: ServerResponse, signal: AbortSignal): Promise<void> {
  using connection = openConnection({ server: relay, dialTimeoutMs: 5000 });
  const client = createClient(Observer, connection.transport);
  const json = { useProtoFieldName: true, registry: createRegistry(ExplanationSchema) };
  for (const request of wanted) {
    for await (const flow of client.getFlows(request, { signal, headers: { [EXPLAIN_HEADER]: "1" } })) {
      const text = toJsonString(GetFlowsResponseSchema, flow, json);
      if (!response.write(`data: ${text}\n\n`)) await once(response, "drain", { signal });
    }
  }
  response.end("event: end\ndata: {}\n\n");
}
