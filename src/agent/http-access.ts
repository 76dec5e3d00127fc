import { HttpEventFlags, HttpOutcome } from "#datapath/gen/enums.ts";
import type { HttpEvent } from "#datapath/gen/structs.ts";
import { accessRecord, type RecordScope, redactDenial, redactUrl } from "#proxy/access-record.ts";
import { decide } from "#proxy/policy/decide.ts";
import { type PolicyTable, rulesOfConnection } from "#proxy/policy/policy-table.ts";
import type { AccessHttp, AccessMessage } from "#proxy/protocol.ts";
import { addressFromBytes } from "#types/addr.ts";

const MISDIRECTED = 421;

/**
 * A request that the kernel has decided, as the proxy would have recorded it: the rules that allowed it, or what kept the nearest from doing so, are
 * those of now. Of its headers the kernel tells the host alone, where it has read one of at most 64 bytes; otherwise the URL names the server's address.
 */
export function httpAccess(event: HttpEvent, table: PolicyTable): AccessMessage {
  const [client, server] = [addressFromBytes(event.client.bytes), addressFromBytes(event.server.bytes)];
  const found = rulesOfConnection(table, "ingress", client, server, event.serverPort);
  const scope: RecordScope = {
    direction: "ingress",
    endpointId: event.lxcId,
    source: { ip: client, port: event.clientPort, identity: event.clientId },
    destination: { ip: server, port: event.serverPort, identity: found?.endpoint.identity ?? 0 },
    recorded: () => false,
  };
  const { method, path } = lineOf(event);
  const http: AccessHttp = {
    method,
    url: `http://${hostHeader(event) ?? hostOf(server, event.serverPort)}${redactUrl(path)}`,
    protocol: event.flags & HttpEventFlags.HTTP10 ? "HTTP/1" : "HTTP/1.1",
    code: event.status,
    headers: [],
  };
  const fixed = { kind: "request", policyRevision: table.revision ?? 0 } as const;
  if (event.outcome === HttpOutcome.REFUSED) return accessRecord(scope, { ...fixed, verdict: "ERROR" }, http, { error: refusal(event) });
  const decision =
    found &&
    decide(found.rules.peer([event.clientId]).http, { method, path, host: "", header: () => undefined, hasLookalike: () => false });
  if (event.outcome === HttpOutcome.ANSWERED) {
    return accessRecord(scope, { ...fixed, kind: "response", verdict: "FORWARDED" }, http, { latencyNs: Number(event.latency) });
  }
  if (event.outcome === HttpOutcome.FORWARDED) {
    return accessRecord(scope, { ...fixed, verdict: "FORWARDED" }, http, decision?.allowed ? { origins: decision.origins } : {});
  }
  const denied = decision && !decision.allowed ? { denied: redactDenial(decision.denied) } : {};
  return accessRecord(scope, { ...fixed, verdict: "DROPPED" }, http, denied);
}

function refusal({ status }: HttpEvent): string {
  const isProxys = status === 0 || status === MISDIRECTED;
  return isProxys ? "not decided in the kernel: the client's next connection is the proxy's" : "not proper HTTP";
}

function lineOf({ method, methodLength, path, pathLength }: HttpEvent): { readonly method: string; readonly path: string } {
  const text = Buffer.from(path).toString("latin1", 0, Math.min(pathLength, path.length));
  return {
    method: Buffer.from(method).toString("latin1", 0, Math.min(methodLength, method.length)),
    // A whole one has a blank behind it.
    path: text.endsWith(" ") ? text.slice(0, -1) : `${text}…`,
  };
}

function hostHeader({ host, hostLength }: HttpEvent): string | undefined {
  return hostLength > 0 && hostLength <= host.length ? Buffer.from(host).toString("latin1", 0, hostLength) : undefined;
}

function hostOf(ip: string, port: number): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}${port === 80 ? "" : `:${port}`}`;
}
