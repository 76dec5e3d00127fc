import {
  type EventTypeFilter,
  type Flow,
  type HTTPHeader,
  IPVersion,
  type NetworkInterface,
  type TCPFlags,
} from "#api/gen/flow/flow_pb.ts";
import type { Predicate } from "./endpoint.ts";
import { labelPredicate } from "./selector.ts";
import { FilterError, regexPredicate, wildcardPredicate } from "./text.ts";

/** One of a set of plain values. */
export function valueFilter<T>(values: readonly T[], of: (flow: Flow) => T | undefined): Predicate {
  const wanted = new Set(values);
  return (flow) => {
    const value = of(flow);
    return value !== undefined && wanted.has(value);
  };
}

/** Event types, with or without their sub-type. */
export function eventTypeFilter(values: readonly EventTypeFilter[]): Predicate {
  return ({ eventType }) =>
    eventType !== undefined &&
    values.some(({ type, matchSubType, subType }) => type === eventType.type && (!matchSubType || subType === eventType.subType));
}

/** Exact codes (`404`) and leading digits (`5+`), of responses and refusals. */
export function httpStatusFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => {
    if (/^[1-9]\d{0,1}\+$/.test(value)) return (code: string) => code.startsWith(value.slice(0, -1));
    if (/^[1-9]\d\d$/.test(value)) return (code: string) => code === value;
    throw new FilterError("http_status_code", `"${value}": expected a code such as 404 or a range such as 5+`);
  });
  return (flow) => {
    const code = httpOf(flow)?.code ?? 0;
    return code !== 0 && wanted.some((matches) => matches(String(code)));
  };
}

function httpOf(flow: Flow) {
  return flow.l7?.record.case === "http" ? flow.l7.record.value : undefined;
}

/** What HTTP allows as a method (RFC 9110, token). */
const METHOD = /^[!#$%&'*+.^_`|~\w-]+$/;

/** Methods, case-insensitive. Throws FilterError for what no request can have as its method. */
export function httpMethodFilter(values: readonly string[]): Predicate {
  const wrong = values.find((value) => !METHOD.test(value));
  if (wrong !== undefined) throw new FilterError("http_method", `"${wrong}" is no HTTP method such as GET`);
  const wanted = new Set(values.map((value) => value.toUpperCase()));
  return (flow) => wanted.has(httpOf(flow)?.method.toUpperCase() ?? "");
}

/** Regular expressions over the path, without the query. */
export function httpPathFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => regexPredicate("http_path", value));
  return (flow) => {
    const path = pathOf(httpOf(flow)?.url);
    return path !== undefined && wanted.some((matches) => matches(path));
  };
}

function pathOf(url: string | undefined): string | undefined {
  if (url === undefined) return undefined;
  const match = /^(?:[a-z][a-z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)/i.exec(url);
  return match?.[1] ?? "";
}

/** Regular expressions over the whole URL. */
export function httpUrlFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => regexPredicate("http_url", value));
  return (flow) => {
    const url = httpOf(flow)?.url;
    return url !== undefined && wanted.some((matches) => matches(url));
  };
}

/** Headers: the name case-insensitive, the value exact. */
export function httpHeaderFilter(values: readonly HTTPHeader[]): Predicate {
  const same = (wanted: HTTPHeader, found: HTTPHeader) =>
    wanted.key.toLowerCase() === found.key.toLowerCase() && wanted.value === found.value;
  return (flow) => {
    const headers = httpOf(flow)?.headers ?? [];
    return values.some((value) => headers.some((header) => same(value, header)));
  };
}

/** Regular expressions over the DNS query. */
export function dnsQueryFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => regexPredicate("dns_query", value));
  return (flow) => {
    const query = flow.l7?.record.case === "dns" ? flow.l7.record.value.query : undefined;
    return query !== undefined && wanted.some((matches) => matches(query));
  };
}

const LAYER4: Readonly<Record<string, readonly string[]>> = {
  tcp: ["TCP"],
  udp: ["UDP"],
  icmp: ["ICMPv4", "ICMPv6"],
  icmpv4: ["ICMPv4"],
  icmpv6: ["ICMPv6"],
  sctp: ["SCTP"],
  vrrp: ["VRRP"],
  igmp: ["IGMP"],
};
const LAYER7: ReadonlySet<string> = new Set(["dns", "http", "kafka"]);

/** Protocols of layer 4 and 7, case-insensitive. */
export function protocolFilter(values: readonly string[]): Predicate {
  const layer4 = new Set<string>();
  const layer7 = new Set<string>();
  for (const value of values) {
    const name = value.toLowerCase();
    const cases = Object.hasOwn(LAYER4, name) ? LAYER4[name] : undefined;
    if (cases !== undefined) for (const item of cases) layer4.add(item);
    else if (LAYER7.has(name)) layer7.add(name);
    else throw new FilterError("protocol", `unknown protocol "${value}"; known are ${[...Object.keys(LAYER4), ...LAYER7].join(", ")}`);
  }
  return (flow) => layer4.has(flow.l4?.protocol.case ?? "") || layer7.has(flow.l7?.record.case ?? "");
}

const FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"] as const;

/** All flags of one of the values must be set. */
export function tcpFlagsFilter(values: readonly TCPFlags[]): Predicate {
  return (flow) => {
    const flags = flow.l4?.protocol.case === "TCP" ? flow.l4.protocol.value.flags : undefined;
    return flags !== undefined && values.some((value) => FLAGS.every((flag) => !value[flag] || flags[flag]));
  };
}

/** `cluster/node` patterns; without a slash the node of any cluster, with nothing after it all nodes of the cluster. */
export function nodeNameFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => {
    const slash = value.indexOf("/");
    const cluster = slash <= 0 ? () => true : wildcardPredicate("node_name", value.slice(0, slash));
    const pattern = value.slice(slash + 1);
    const node = pattern === "" ? () => true : wildcardPredicate("node_name", pattern);
    return { cluster, node };
  });
  return (flow) => {
    const slash = flow.nodeName.indexOf("/");
    const cluster = slash < 0 ? "default" : flow.nodeName.slice(0, slash);
    const name = flow.nodeName.slice(slash + 1);
    return name !== "" && wanted.some((matches) => matches.cluster(cluster) && matches.node(name));
  };
}

/** Label selectors over the node's labels. */
export function nodeLabelsFilter(values: readonly string[]): Predicate {
  const wanted = values.map((value) => labelPredicate("node_labels", value));
  return (flow) => wanted.some((matches) => matches(flow.nodeLabels));
}

/** Devices by name, or by index when the value has no name. */
export function interfaceFilter(values: readonly NetworkInterface[]): Predicate {
  return (flow) => {
    const found = flow.interface;
    return found !== undefined && values.some((value) => (value.name === "" ? value.index === found.index : value.name === found.name));
  };
}

/** Address families. */
export function ipVersionFilter(values: readonly IPVersion[]): Predicate {
  return (flow) => values.includes(flow.IP?.ipVersion ?? IPVersion.IP_NOT_USED);
}
