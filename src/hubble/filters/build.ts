import type { Flow, FlowFilter } from "#api/gen/flow/flow_pb.ts";
import { celFilter } from "./cel.ts";
import * as endpoint from "./endpoint.ts";
import * as flow from "./flow.ts";

type Predicate = endpoint.Predicate;
type Field = Exclude<keyof FlowFilter, "$typeName" | "$unknown">;
type Build<F extends Field> = (values: NonNullable<FlowFilter[F]>) => Predicate;

/** One function per field of FlowFilter, in the order in which they are cheap. */
const FIELDS: { readonly [F in Field]: Build<F> } = {
  verdict: (values) => flow.valueFilter(values, (it) => it.verdict),
  eventType: flow.eventTypeFilter,
  trafficDirection: (values) => flow.valueFilter(values, (it) => it.trafficDirection),
  dropReasonDesc: (values) => flow.valueFilter(values, (it) => it.dropReasonDesc),
  reply: (values) => flow.valueFilter(values, (it) => it.isReply),
  ipVersion: flow.ipVersionFilter,
  protocol: flow.protocolFilter,
  tcpFlags: flow.tcpFlagsFilter,
  sourceIdentity: (values) => endpoint.identityFilter(values, "source"),
  destinationIdentity: (values) => endpoint.identityFilter(values, "destination"),
  sourcePort: (values) => endpoint.portFilter("source_port", values, "source"),
  destinationPort: (values) => endpoint.portFilter("destination_port", values, "destination"),
  sourcePod: (values) => endpoint.podFilter("source_pod", values, "source"),
  destinationPod: (values) => endpoint.podFilter("destination_pod", values, "destination"),
  sourceService: (values) => endpoint.serviceFilter("source_service", values, (it) => it.sourceService),
  destinationService: (values) => endpoint.serviceFilter("destination_service", values, (it) => it.destinationService),
  sourceIp: (values) => endpoint.ipFilter("source_ip", values, (it) => it.IP?.source),
  destinationIp: (values) => endpoint.ipFilter("destination_ip", values, (it) => it.IP?.destination),
  sourceIpXlated: (values) => endpoint.ipFilter("source_ip_xlated", values, (it) => it.IP?.sourceXlated),
  sourceLabel: (values) => endpoint.labelFilter("source_label", values, "source"),
  destinationLabel: (values) => endpoint.labelFilter("destination_label", values, "destination"),
  sourceWorkload: (values) => endpoint.workloadFilter(values, "source"),
  destinationWorkload: (values) => endpoint.workloadFilter(values, "destination"),
  sourceClusterName: (values) => endpoint.clusterFilter(values, "source"),
  destinationClusterName: (values) => endpoint.clusterFilter(values, "destination"),
  sourceFqdn: (values) => endpoint.fqdnFilter("source_fqdn", values, (it) => it.sourceNames),
  destinationFqdn: (values) => endpoint.fqdnFilter("destination_fqdn", values, (it) => it.destinationNames),
  httpStatusCode: flow.httpStatusFilter,
  httpMethod: flow.httpMethodFilter,
  httpPath: flow.httpPathFilter,
  httpUrl: flow.httpUrlFilter,
  httpHeader: flow.httpHeaderFilter,
  dnsQuery: flow.dnsQueryFilter,
  nodeName: flow.nodeNameFilter,
  nodeLabels: flow.nodeLabelsFilter,
  interface: flow.interfaceFilter,
  traceId: (values) => flow.valueFilter(values, (it) => it.traceContext?.parent?.traceId),
  ipTraceId: (values) => flow.valueFilter(values, (it) => it.ipTraceId?.traceId),
  uuid: (values) => flow.valueFilter(values, (it) => it.uuid),
  encrypted: (values) => flow.valueFilter(values, (it) => it.IP?.encrypted ?? false),
  experimental: ({ celExpression }) => (celExpression.length === 0 ? () => true : celFilter(celExpression)),
};

/** A filter as a predicate: every field that is set must match. Throws FilterError for values nobody can match. */
export function compileFilter(filter: FlowFilter): Predicate {
  const predicates: Predicate[] = [];
  for (const name of Object.keys(FIELDS) as Field[]) {
    const predicate = buildField(name, filter);
    if (predicate !== undefined) predicates.push(predicate);
  }
  return (it) => predicates.every((predicate) => predicate(it));
}

function buildField<F extends Field>(name: F, filter: FlowFilter): Predicate | undefined {
  const values = filter[name];
  if (values === undefined || (Array.isArray(values) && values.length === 0)) return undefined;
  return (FIELDS[name] as Build<F>)(values as NonNullable<FlowFilter[F]>);
}

/** Whether a flow is wanted: some filter of the whitelist matches (or it is empty) and none of the blacklist does. */
export function compileFilters(whitelist: readonly FlowFilter[], blacklist: readonly FlowFilter[]): (it: Flow) => boolean {
  const wanted = whitelist.map(compileFilter);
  const unwanted = blacklist.map(compileFilter);
  return (it) => (wanted.length === 0 || wanted.some((matches) => matches(it))) && !unwanted.some((matches) => matches(it));
}
