import type { HeaderField } from "./http/header-fields.ts";
import type { RequestHead } from "./http/request-head.ts";
import type { ResponseHead } from "./http/response-head.ts";
import type { AccessDenial, AccessHttp, AccessMessage, AccessPeer, NearMiss, ProxyDirection } from "./protocol.ts";

/** What is the same for every record of a connection. */
export interface RecordScope {
  readonly direction: ProxyDirection;
  readonly endpointId: number;
  readonly source: AccessPeer;
  readonly destination: AccessPeer;
}

/** Headers that records carry. Credentials are never among them. */
const RECORDED_HEADERS = new Set(["user-agent", "content-type", "content-length", "x-request-id", "traceparent", "accept"]);
const START = performance.timeOrigin;
const MAX_TEXT = 512;
const SECRET_PARAMETER = /([?&][^=&]*(?:token|secret|passw|api[-_]?key|signature|credential|session|auth)[^=&]*=)[^&]*/gi;

type Outcome = Partial<Pick<AccessMessage, "latencyNs" | "origins" | "denied" | "error" | "missingHeaders">>;
type Fixed = Pick<AccessMessage, "kind" | "verdict" | "policyRevision">;

/** A record of now. */
export function accessRecord(scope: RecordScope, fixed: Fixed, http: AccessHttp, outcome: Outcome): AccessMessage {
  return {
    type: "access",
    time: START + performance.now(),
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
export function accessHttp(request: RequestHead, code: number, response?: Pick<ResponseHead, "headers">): AccessHttp {
  return {
    method: request.method,
    url: `http://${request.host}${redactUrl(request.path)}`,
    protocol: request.protocol,
    code,
    headers: recordedHeaders((response ?? request).headers),
  };
}

function recordedHeaders(headers: readonly HeaderField[]): AccessHttp["headers"] {
  const recorded: { key: string; value: string }[] = [];
  for (const { name, value } of headers) if (RECORDED_HEADERS.has(name)) recorded.push({ key: name, value: cut(value) });
  return recorded;
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
