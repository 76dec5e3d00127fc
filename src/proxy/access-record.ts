import type { HeaderField } from "./http/header-fields.ts";
import type { RequestHead } from "./http/request-head.ts";
import type { ResponseHead } from "./http/response-head.ts";
import type { AccessBase, AccessDenial, AccessHttp, AccessMessage, AccessPeer, NearMiss, ProxyDirection } from "./protocol.ts";

/** What is the same for every record of a connection. */
export interface RecordScope {
  readonly direction: ProxyDirection;
  readonly endpointId: number;
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
  /** Which headers records carry, by their names in lower case. */
  readonly recorded: HeaderChoice;
  /** Requests were read inside TLS. */
  readonly secured?: boolean;
}

export type HeaderChoice = (name: string) => boolean;

/** Headers that records carry when nothing else is asked for. */
export const RECORDED_HEADERS: readonly string[] = [
  "user-agent",
  "content-type",
  "content-length",
  "x-request-id",
  "traceparent",
  "accept",
];
const CREDENTIALS = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"]);

/** The headers with these names; `*` is all of them but those that carry credentials, which must be named. */
export function chooseHeaders(names: readonly string[]): HeaderChoice {
  const named = new Set(names.map((name) => name.toLowerCase()));
  return (name) => named.has(name) || (named.has("*") && !CREDENTIALS.has(name));
}

/** Add it to `performance.now()` for the time of a record. */
export const RECORD_EPOCH = performance.timeOrigin;
const MAX_TEXT = 512;
const SECRET_PARAMETER = /([?&][^=&]*(?:token|secret|passw|api[-_]?key|signature|credential|session|auth)[^=&]*=)[^&]*/gi;

type Outcome = Partial<Pick<AccessMessage, "latencyNs" | "origins" | "denied" | "error" | "missingHeaders">>;
type Fixed = Pick<AccessMessage, "kind" | "verdict" | "policyRevision">;

/** What a record of now tells, whatever was spoken. */
export function accessBase(scope: RecordScope, fixed: Fixed & Omit<Outcome, "missingHeaders">): AccessBase {
  return {
    time: RECORD_EPOCH + performance.now(),
    kind: fixed.kind,
    verdict: fixed.verdict,
    direction: scope.direction,
    endpointId: scope.endpointId,
    source: scope.source,
    destination: scope.destination,
    policyRevision: fixed.policyRevision,
    latencyNs: fixed.latencyNs ?? 0,
    ...(fixed.origins === undefined ? {} : { origins: fixed.origins }),
    ...(fixed.denied === undefined ? {} : { denied: fixed.denied }),
    ...(fixed.error === undefined ? {} : { error: fixed.error }),
  };
}

/** A record of an HTTP request or response. `now` is of `performance.now()`. */
export function accessRecord(
  scope: RecordScope,
  fixed: Fixed,
  http: AccessHttp,
  outcome: Outcome,
  now: number = performance.now(),
): AccessMessage {
  return {
    type: "access",
    time: RECORD_EPOCH + now,
    kind: fixed.kind,
    verdict: fixed.verdict,
    direction: scope.direction,
    endpointId: scope.endpointId,
    source: scope.source,
    destination: scope.destination,
    http,
    policyRevision: fixed.policyRevision,
    latencyNs: outcome.latencyNs ?? 0,
    ...outcome,
  };
}

/** The request as records show it; `response` adds its code and its headers instead of the request's. */
export function accessHttp(
  { recorded, secured }: RecordScope,
  request: RequestHead,
  code: number,
  response?: Pick<ResponseHead, "headers">,
): AccessHttp {
  return {
    method: request.method,
    url: `${secured === true ? "https" : "http"}://${request.host}${redactUrl(request.path)}`,
    protocol: request.protocol,
    code,
    headers: recordedHeaders((response ?? request).headers, recorded),
  };
}

function recordedHeaders(headers: readonly HeaderField[], isRecorded: HeaderChoice): AccessHttp["headers"] {
  const found: { key: string; value: string }[] = [];
  for (const { name, value } of headers) if (isRecorded(name)) found.push({ key: name, value: cut(value) });
  return found;
}

/** For input that never became a request. */
export const UNREADABLE_HTTP: AccessHttp = { method: "", url: "", protocol: "HTTP/1.1", code: 400, headers: [] };

/** Values of query parameters whose names speak of credentials are hidden; long texts are cut. */
export function redactUrl(path: string): string {
  return cut(path.includes("?") ? path.replace(SECRET_PARAMETER, "$1***") : path);
}

/** The denial with its texts fit for records. */
export function redactDenial(denied: AccessDenial): AccessDenial {
  const nearest = denied.nearest.map(
    (miss): NearMiss => ({
      ...miss,
      mismatches: miss.mismatches.map((mismatch) => ({ ...mismatch, wanted: cut(mismatch.wanted), found: redactUrl(mismatch.found) })),
    }),
  );
  return denied.reading === undefined ? { ...denied, nearest } : { ...denied, nearest, reading: redactUrl(denied.reading) };
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
