import type { IncomingMessage } from "node:http";
import { createClient } from "@connectrpc/connect";
import type { Flow } from "#api/gen/flow/flow_pb.ts";
import { Observer } from "#api/gen/observer/observer_pb.ts";
import { createObservations, type Observations } from "#policy/replay/observed.ts";
import { errorMessage } from "#runtime/errors.ts";
import { openConnection } from "../client/transport.ts";
import { timestampOf } from "../parser/messages.ts";
import type { Snapshot } from "./cluster-view.ts";
import { policyList, policyText, workloadList } from "./policy-list.ts";
import { refusal, replayText, reviewText } from "./review.ts";

/** A text that somebody writes by hand is smaller. */
const MAX_BODY = 256 * 1024;
/** Flows of each node, the newest, that a proposed policy is tried on, and how long the relay may take over them. */
const MAX_FLOWS = 20_000n;
const REPLAY_MS = 20_000;
const HOUR_MS = 3_600_000;

export interface PolicyDeps {
  /** Undefined where there is no cluster to ask. */
  readonly snapshot: (() => Promise<Snapshot>) | undefined;
  readonly relay: string;
}

/** An answer: what to say in JSON, or a failure in words. */
export type Answer =
  | { readonly status: 200; readonly body: unknown }
  | { readonly status: 400 | 404 | 413 | 415 | 503; readonly body: string };

type Handler = (snapshot: Snapshot, request: IncomingMessage, query: URLSearchParams, relay: string) => Promise<Answer> | Answer;

/** What the page may ask, by method and path. None of them changes anything. */
const HANDLERS: Readonly<Record<string, Handler>> = {
  "GET /api/workloads": (snapshot) => ({ status: 200, body: { workloads: workloadList(snapshot) } }),
  "GET /api/policies": (snapshot) => ({ status: 200, body: { policies: policyList(snapshot) } }),
  "GET /api/policy": (snapshot, _request, query) => {
    const found = policyText(snapshot, query.get("key") ?? "");
    return found === undefined ? { status: 404, body: "there is no such policy (any more)" } : { status: 200, body: found };
  },
  "POST /api/lint": (snapshot, request) => withText(request, (text) => ({ status: 200, body: reviewText(text, snapshot) })),
  "POST /api/what-if": (snapshot, request, query, relay) =>
    withText(request, async (text) => {
      const refused = refusal(text);
      if (refused !== undefined) return { status: 400, body: refused };
      const since = /^\d{1,15}$/.test(query.get("since") ?? "") ? Number(query.get("since")) : Date.now() - HOUR_MS;
      const observations = await observed(relay, since);
      return { status: 200, body: { ...replayText(text, snapshot, observations.list()), flows: observations.flows } };
    }),
};

/** Answers a question about policies; undefined for what is none. */
export async function answerPolicies(
  { snapshot, relay }: PolicyDeps,
  request: IncomingMessage,
  { pathname, searchParams }: URL,
): Promise<Answer | undefined> {
  const handler = HANDLERS[`${request.method} ${pathname}`];
  if (handler === undefined) return undefined;
  if (snapshot === undefined) return { status: 503, body: "hubble-ui runs without a cluster: it knows no policies" };
  try {
    return await handler(await snapshot(), request, searchParams, relay);
  } catch (thrown) {
    return { status: 503, body: errorMessage(thrown) };
  }
}

/** Another site's page can send text without asking first, but no YAML. */
async function withText(request: IncomingMessage, answer: (text: string) => Promise<Answer> | Answer): Promise<Answer> {
  if (request.headers["content-type"] !== "application/yaml") return { status: 415, body: "needed is application/yaml" };
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) return { status: 413, body: `a policy may have ${MAX_BODY / 1024} KiB here` };
    chunks.push(chunk);
  }
  return answer(Buffer.concat(chunks).toString("utf8"));
}

async function observed(relay: string, sinceMs: number): Promise<Observations> {
  const observations = createObservations();
  using connection = openConnection({ server: relay, dialTimeoutMs: 5000 });
  const [since, until] = [sinceMs, Date.now()].map((time) => timestampOf(BigInt(time) * 1_000_000n));
  const signal = AbortSignal.timeout(REPLAY_MS);
  for await (const { responseTypes } of createClient(Observer, connection.transport).getFlows(
    { number: MAX_FLOWS, ...(since && { since }), ...(until && { until }) },
    { signal },
  )) {
    if (responseTypes.case === "flow") observations.add(responseTypes.value as Flow);
  }
  return observations;
}
