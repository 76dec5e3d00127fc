import { Histogram } from "prom-client";
import { type Flow, L7FlowType, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";
import { rcodeText } from "../parser/summary.ts";
import { counter, type FlowHandler, type MetricDeps } from "./kit.ts";

/** DNS questions and answers. */
export function dns(deps: MetricDeps): FlowHandler {
  const withQuery = deps.config.options.has("query");
  const labels = ["rcode", "qtypes", "ips_returned", ...(withQuery ? ["query"] : [])];
  const queries = counter(deps, "dns_queries_total", "Number of DNS queries observed", labels);
  const responses = counter(deps, "dns_responses_total", "Number of DNS responses observed", labels);
  const types = counter(deps, "dns_response_types_total", "Number of DNS response types observed", ["type", "qtypes"]);
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "dns") return;
    const { query, rcode, ips, rrtypes } = record.value;
    const qtypes = record.value.qtypes.join(",");
    if (deps.config.options.has("ignoreAAAA") && qtypes === "AAAA") return;
    const common = { qtypes, ips_returned: String(ips.length), ...(withQuery ? { query } : {}) };
    if (flow.verdict === Verdict.DROPPED) queries(flow, { ...common, rcode: "Policy denied" });
    else if (flow.isReply === true) {
      responses(flow, { ...common, rcode: rcodeText(rcode) });
      for (const type of rrtypes) types(flow, { type, qtypes });
    } else queries(flow, { ...common, rcode: "" });
  };
}

/** Who saw the request: the side of the server or of the client. */
function reporterOf(flow: Flow): string {
  if (flow.trafficDirection === TrafficDirection.INGRESS) return "server";
  return flow.trafficDirection === TrafficDirection.EGRESS ? "client" : "unknown";
}

function durations(deps: MetricDeps): Histogram {
  return new Histogram({
    name: "hubble_http_request_duration_seconds",
    help: "Quantiles of HTTP request duration in seconds",
    labelNames: ["method", "reporter", ...deps.context.names],
    registers: [deps.registry],
  });
}

/** HTTP, the first version: requests and responses apart. */
export function http(deps: MetricDeps): FlowHandler {
  const requests = counter(deps, "http_requests_total", "Count of HTTP requests by methods", ["method", "protocol", "reporter"]);
  const responses = counter(deps, "http_responses_total", "Count of HTTP responses by methods and status codes", [
    "method",
    "status",
    "reporter",
  ]);
  const duration = durations(deps);
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "http" || flow.l7 === undefined) return;
    const { method, protocol, code } = record.value;
    const reporter = reporterOf(flow);
    if (flow.l7.type === L7FlowType.REQUEST) requests(flow, { method, protocol, reporter });
    if (flow.l7.type === L7FlowType.RESPONSE) {
      responses(flow, { method, status: String(code), reporter });
      duration.observe({ method, reporter, ...deps.context.values(flow) }, Number(flow.l7.latencyNs) / 1e9);
    }
  };
}

/** HTTP, the second version: requests with the status of their answer. */
export function httpV2(deps: MetricDeps): FlowHandler {
  const requests = counter(deps, "http_requests_total", "Count of HTTP requests by methods", ["method", "protocol", "status", "reporter"]);
  const duration = durations(deps);
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "http" || flow.l7?.type !== L7FlowType.RESPONSE) return;
    const { method, protocol, code } = record.value;
    const reporter = reporterOf(flow);
    requests(flow, { method, protocol, status: String(code), reporter });
    duration.observe({ method, reporter, ...deps.context.values(flow) }, Number(flow.l7.latencyNs) / 1e9);
  };
}
