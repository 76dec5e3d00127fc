import type { Endpoint, Flow } from "#api/gen/flow/flow_pb.ts";
import { Verdict } from "#api/gen/flow/flow_pb.ts";
import { reservedIdentityName } from "#monitor/names.ts";
import { directionName, reasonName, verdictName } from "../enum-names.ts";
import { portsOf } from "../parser/layer4.ts";

/** One end of a connection. */
type End = "source" | "destination";

/** What flows can be counted by. `source` is who opened the connection, in replies too. */
export const KEYS: Readonly<Record<string, (flow: Flow) => string>> = {
  source: (flow) => workload(flow, client(flow)),
  destination: (flow) => workload(flow, server(flow)),
  "source-namespace": (flow) => flow[client(flow)]?.namespace ?? "",
  "destination-namespace": (flow) => flow[server(flow)]?.namespace ?? "",
  "source-pod": (flow) => pod(flow, client(flow)),
  "destination-pod": (flow) => pod(flow, server(flow)),
  "source-identity": (flow) => identity(flow[client(flow)]),
  "destination-identity": (flow) => identity(flow[server(flow)]),
  port: (flow) => servedPort(flow),
  protocol: protocol,
  verdict: (flow) => verdictName(flow.verdict),
  direction: (flow) => directionName(flow.trafficDirection),
  "drop-reason": (flow) => (flow.verdict === Verdict.DROPPED ? reasonName(flow.dropReasonDesc) : ""),
  policy: policies,
  node: (flow) => flow.nodeName,
  "http-method": (flow) => http(flow)?.method ?? "",
  "http-path": (flow) => path(http(flow)?.url ?? ""),
  "http-status": (flow) => (http(flow)?.code ? String(http(flow)?.code) : ""),
  "dns-query": (flow) => (flow.l7?.record.case === "dns" ? flow.l7.record.value.query : ""),
};

function client(flow: Flow): End {
  return flow.isReply === true ? "destination" : "source";
}

function server(flow: Flow): End {
  return flow.isReply === true ? "source" : "destination";
}

/** `namespace/workload`, a reserved name, a DNS name, or the address. */
function workload(flow: Flow, end: End): string {
  const endpoint = flow[end];
  const [first] = endpoint?.workloads ?? [];
  return first && endpoint ? `${endpoint.namespace}/${first.name}` : pod(flow, end);
}

function pod(flow: Flow, end: End): string {
  const endpoint = flow[end];
  if (endpoint && endpoint.podName !== "") return `${endpoint.namespace}/${endpoint.podName}`;
  const [name] = end === "source" ? flow.sourceNames : flow.destinationNames;
  if (name !== undefined) return name;
  const reserved = reservedIdentityName(endpoint?.identity ?? 0);
  const address = flow.IP?.[end] ?? "";
  return reserved === undefined || reserved === "world" || reserved === "unknown" ? address : reserved;
}

function identity(endpoint: Endpoint | undefined): string {
  if (endpoint === undefined || endpoint.identity === 0) return "";
  return reservedIdentityName(endpoint.identity) ?? String(endpoint.identity);
}

/** The port of the side that was connected to, with its protocol: `80/TCP`, `ICMPv4`. */
function servedPort(flow: Flow): string {
  const port = portsOf(flow.l4)[server(flow)];
  const name = flow.l4?.protocol.case ?? "";
  return port === 0 ? name : `${port}/${name}`;
}

function protocol(flow: Flow): string {
  const record = flow.l7?.record.case;
  return record === undefined ? (flow.l4?.protocol.case ?? "") : record.toUpperCase();
}

function policies({ egressAllowedBy, ingressAllowedBy, egressDeniedBy, ingressDeniedBy }: Flow): string {
  const names = [...egressAllowedBy, ...ingressAllowedBy, ...egressDeniedBy, ...ingressDeniedBy].map(({ namespace, name }) =>
    namespace === "" ? name : `${namespace}/${name}`,
  );
  return [...new Set(names)].sort().join(",");
}

function http(flow: Flow) {
  return flow.l7?.record.case === "http" ? flow.l7.record.value : undefined;
}

// The query is not the path, and has more values than anybody wants rows.
function path(url: string): string {
  return url.replace(/^[a-z]+:\/\/[^/]*/, "").replace(/[?#].*$/, "");
}
