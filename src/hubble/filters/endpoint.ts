import type { Endpoint, Flow, Service, Workload } from "#api/gen/flow/flow_pb.ts";
import { parseAddress } from "#types/addr.ts";
import { parsePrefix, prefixHas } from "#types/prefix.ts";
import { portsOf } from "../parser/layer4.ts";
import { labelPredicate } from "./selector.ts";
import { FilterError, wildcardPredicate } from "./text.ts";

/** A filter of one field: whether the flow has one of the values. */
export type Predicate = (flow: Flow) => boolean;
type End = "source" | "destination";

/** Any of several predicates. */
export function anyOf<T>(predicates: readonly ((value: T) => boolean)[]): (value: T) => boolean {
  return (value) => predicates.some((predicate) => predicate(value));
}

/** Addresses and prefixes against an address of the flow. */
export function ipFilter(field: string, values: readonly string[], of: (flow: Flow) => string | undefined): Predicate {
  const wanted = values.map((value) => addressPredicate(field, value));
  return (flow) => {
    const ip = of(flow);
    return ip !== undefined && ip !== "" && wanted.some((predicate) => predicate(ip));
  };
}

function addressPredicate(field: string, value: string): (ip: string) => boolean {
  if (value.includes("/")) {
    const prefix = parsePrefix(value);
    if (prefix === undefined) throw new FilterError(field, `"${value}" is no CIDR`);
    return (ip) => {
      const address = parseAddress(ip);
      return address !== undefined && prefixHas(prefix, address);
    };
  }
  const address = parseAddress(value);
  if (address === undefined) throw new FilterError(field, `"${value}" is no IP address or CIDR`);
  return (ip) => ip === address;
}

/** `ns/name` as a prefix: `ns/` a whole namespace, `/name` any namespace, `/` all, a bare name the namespace `default`. */
function namePredicate(field: string, value: string): (namespace: string, name: string) => boolean {
  if (value === "") throw new FilterError(field, "an empty name");
  const slash = value.indexOf("/");
  const wantedNamespace = slash < 0 ? "default" : value.slice(0, slash);
  const prefix = value.slice(slash + 1);
  const isKnown = (namespace: string, name: string) => namespace !== "" || name !== "";
  return (namespace, name) =>
    isKnown(namespace, name) && (wantedNamespace === "" || namespace === wantedNamespace) && name.startsWith(prefix);
}

/** Pods by prefix. */
export function podFilter(field: string, values: readonly string[], end: End): Predicate {
  const wanted = values.map((value) => namePredicate(field, value));
  return (flow) => {
    const endpoint = flow[end];
    return endpoint !== undefined && wanted.some((matches) => matches(endpoint.namespace, endpoint.podName));
  };
}

/** Services by prefix, as pods. */
export function serviceFilter(field: string, values: readonly string[], of: (flow: Flow) => Service | undefined): Predicate {
  const wanted = values.map((value) => namePredicate(field, value));
  return (flow) => {
    const service = of(flow);
    return service !== undefined && wanted.some((matches) => matches(service.namespace, service.name));
  };
}

/** Label selectors. */
export function labelFilter(field: string, values: readonly string[], end: End): Predicate {
  const wanted = values.map((value) => labelPredicate(field, value));
  return (flow) => {
    const labels = flow[end]?.labels ?? [];
    return wanted.some((matches) => matches(labels));
  };
}

/** Name patterns against the DNS names of an end. */
export function fqdnFilter(field: string, values: readonly string[], of: (flow: Flow) => readonly string[]): Predicate {
  const matches = anyOf(values.map((value) => wildcardPredicate(field, value)));
  return (flow) => of(flow).some(matches);
}

/** Ports as text. */
export function portFilter(field: string, values: readonly string[], end: End): Predicate {
  const wanted = new Set(values.map((value) => portNumber(field, value)));
  return (flow) => {
    const port = portsOf(flow.l4)[end];
    return port !== 0 && wanted.has(port);
  };
}

function portNumber(field: string, value: string): number {
  const port = Number(value);
  if (!/^\d+$/.test(value) || port > 65535) throw new FilterError(field, `"${value}" is no port`);
  return port;
}

/** Identities. */
export function identityFilter(values: readonly number[], end: End): Predicate {
  const wanted = new Set(values);
  return (flow) => flow[end] !== undefined && wanted.has(flow[end].identity);
}

/** Workloads: an empty kind or name matches all. */
export function workloadFilter(values: readonly Workload[], end: End): Predicate {
  const same = (wanted: string, found: string) => wanted === "" || wanted === found;
  return (flow) => {
    const workloads = flow[end]?.workloads ?? [];
    return values.some((value) => workloads.some(({ name, kind }) => same(value.name, name) && same(value.kind, kind)));
  };
}

/** Names of clusters. */
export function clusterFilter(values: readonly string[], end: End): Predicate {
  const clusterOf = (endpoint: Endpoint | undefined) => endpoint?.clusterName ?? "";
  return (flow) => values.includes(clusterOf(flow[end]));
}
