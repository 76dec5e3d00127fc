import { L7FlowType, Verdict } from "#api/gen/flow/flow_pb.ts";
import { rcodeText } from "../parser/summary.ts";
import { counter, type FlowHandler, histogram, type MetricDeps, reporterOf } from "./kit.ts";

const NS_PER_SECOND = 1e9;

/** DNS questions and answers. */
export function dns(deps: MetricDeps): FlowHandler {
  const { options } = deps.config;
  const queryLabel = options.has("query") ? ["query"] : [];
  const labels = ["rcode", "qtypes", "ips_returned", ...queryLabel];
  const queries = counter(deps, "dns_queries_total", "Number of DNS queries observed", { labels });
  const responses = counter(deps, "dns_responses_total", "Number of DNS responses observed", { labels });
  const types = counter(deps, "dns_response_types_total", "Number of DNS response types observed", {
    labels: ["type", "qtypes", ...queryLabel],
  });
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "dns") return;
    const { query, rcode, ips, rrtypes } = record.value;
    const qtypes = record.value.qtypes.join(",");
    if (options.has("ignoreaaaa") && qtypes === "AAAA") return;
    const asked = { qtypes, ...(options.has("query") ? { query } : {}) };
    const common = { ...asked, ips_returned: String(ips.length) };
    if (flow.verdict === Verdict.DROPPED) queries(flow, { ...common, rcode: "Policy denied" });
    else if (flow.isReply === true) {
      responses(flow, { ...common, rcode: rcodeText(rcode) });
      for (const type of rrtypes) types(flow, { ...asked, type });
    } else queries(flow, { ...common, rcode: "" });
  };
}

const DURATION = ["http_request_duration_seconds", "Quantiles of HTTP request duration in seconds"] as const;

/** HTTP, the first version: requests and responses apart. */
export function http(deps: MetricDeps): FlowHandler {
  const traced = true;
  const requests = counter(deps, "http_requests_total", "Count of HTTP requests", { labels: ["method", "protocol", "reporter"], traced });
  const responses = counter(deps, "http_responses_total", "Count of HTTP responses", {
    labels: ["method", "protocol", "status", "reporter"],
    traced,
  });
  const duration = histogram(deps, ...DURATION, { labels: ["method", "reporter"], traced });
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "http" || flow.l7 === undefined) return;
    const { method, protocol, code } = record.value;
    const reporter = reporterOf(flow);
    if (flow.l7.type === L7FlowType.REQUEST) requests(flow, { method, protocol, reporter });
    if (flow.l7.type === L7FlowType.RESPONSE) {
      responses(flow, { method, protocol, status: String(code), reporter });
      duration(flow, { method, reporter }, Number(flow.l7.latencyNs) / NS_PER_SECOND);
    }
  };
}

/** HTTP, the second version: requests with the status of their answer, labelled by who asked whom. */
export function httpV2(deps: MetricDeps): FlowHandler {
  const shape = { reversed: true, traced: true };
  const requests = counter(deps, "http_requests_total", "Count of HTTP requests", {
    ...shape,
    labels: ["method", "protocol", "status", "reporter"],
  });
  const duration = histogram(deps, ...DURATION, { ...shape, labels: ["method", "reporter"] });
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "http" || flow.l7?.type !== L7FlowType.RESPONSE) return;
    const { method, protocol, code } = record.value;
    const reporter = reporterOf(flow);
    requests(flow, { method, protocol, status: String(code), reporter });
    duration(flow, { method, reporter }, Number(flow.l7.latencyNs) / NS_PER_SECOND);
  };
}

/** Kafka, as upstream had it while it had Kafka policies. */
export function kafka(deps: MetricDeps): FlowHandler {
  const requests = counter(deps, "kafka_requests_total", "Count of Kafka requests by topic", {
    labels: ["topic", "api_key", "error_code", "reporter"],
  });
  const duration = histogram(deps, "kafka_request_duration_seconds", "Quantiles of Kafka request duration in seconds", {
    labels: ["topic", "api_key", "reporter"],
  });
  return (flow) => {
    const record = flow.l7?.record;
    if (record?.case !== "kafka" || flow.l7 === undefined) return;
    const { topic, apiKey, errorCode } = record.value;
    const common = { topic, api_key: apiKey, reporter: reporterOf(flow) };
    if (flow.l7.type === L7FlowType.REQUEST) requests(flow, { ...common, error_code: String(errorCode) });
    if (flow.l7.type === L7FlowType.RESPONSE) duration(flow, common, Number(flow.l7.latencyNs) / NS_PER_SECOND);
  };
}
