import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  AuthType,
  type CiliumEventType,
  DebugCapturePoint,
  DropReason,
  type Endpoint,
  type Flow,
  FlowType,
  type IP,
  IPVersion,
  type NetworkInterface,
  type Policy,
  type Service,
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
} from "#api/gen/flow/flow_pb.ts";
import type { EndpointNames, PolicyNames } from "../names.ts";
import { share } from "../wire/encoder.ts";

// Messages are made as literals: the same objects `create` gives, four times faster, and a flow is made for every packet.

const SECOND = 1_000_000_000n;
/** The second that was asked for last: most times lie in it. */
let [second, secondBegins] = [0n, 0n];

/** Nanoseconds since 1970 as a protobuf timestamp. */
export function timestampOf(time: bigint): Timestamp {
  let nanos = Number(time - secondBegins);
  if (nanos < 0 || nanos >= 1e9) {
    second = time / SECOND;
    secondBegins = second * SECOND;
    nanos = Number(time - secondBegins);
  }
  return { $typeName: "google.protobuf.Timestamp", seconds: second, nanos };
}

/** A protobuf timestamp as nanoseconds since 1970; 0 for none. */
export function nanosecondsOf(timestamp: Timestamp | undefined): bigint {
  return timestamp === undefined ? 0n : timestamp.seconds * 1_000_000_000n + BigInt(timestamp.nanos);
}

/** What flows have no entries of; nobody may add one. */
const NONE: never[] = [];

/** A flow with nothing in it but its time. Its empty lists are replaced, never added to. */
export function emptyFlow(time: bigint): Flow {
  return {
    $typeName: "flow.Flow",
    time: timestampOf(time),
    verdict: Verdict.VERDICT_UNKNOWN,
    dropReason: 0,
    ethernet: undefined,
    IP: undefined,
    l4: undefined,
    source: undefined,
    destination: undefined,
    Type: FlowType.UNKNOWN_TYPE,
    nodeName: "",
    sourceNames: NONE,
    destinationNames: NONE,
    l7: undefined,
    reply: false,
    eventType: undefined,
    sourceService: undefined,
    destinationService: undefined,
    trafficDirection: TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN,
    policyMatchType: 0,
    traceObservationPoint: TraceObservationPoint.UNKNOWN_POINT,
    dropReasonDesc: DropReason.DROP_REASON_UNKNOWN,
    isReply: undefined,
    debugCapturePoint: DebugCapturePoint.DBG_CAPTURE_POINT_UNKNOWN,
    interface: undefined,
    proxyPort: 0,
    traceContext: undefined,
    sockXlatePoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    socketCookie: 0n,
    cgroupId: 0n,
    uuid: "",
    authType: AuthType.DISABLED,
    traceReason: TraceReason.TRACE_REASON_UNKNOWN,
    nodeLabels: NONE,
    file: undefined,
    tunnel: undefined,
    ipTraceId: undefined,
    emitter: undefined,
    egressAllowedBy: NONE,
    ingressAllowedBy: NONE,
    egressDeniedBy: NONE,
    ingressDeniedBy: NONE,
    policyLog: NONE,
    aggregate: undefined,
    Summary: "",
    extensions: undefined,
  };
}

const endpoints = new WeakMap<EndpointNames, { readonly labels: readonly string[]; readonly message: Endpoint }>();

/**
 * An endpoint of a flow; the same message for all flows while the names and labels are the same objects. `names` undefined: something
 * without a name, known by its identity alone.
 */
export function endpointMessage(identity: number, labels: readonly string[], names: EndpointNames | undefined): Endpoint {
  const kept = names && endpoints.get(names);
  if (kept?.labels === labels && kept.message.identity === identity) return kept.message;
  const message: Endpoint = {
    $typeName: "flow.Endpoint",
    ID: names?.id ?? 0,
    identity,
    namespace: names?.namespace ?? "",
    labels: [...labels],
    podName: names?.podName ?? "",
    workloads: (names?.workloads ?? []).map(({ name, kind }) => ({ $typeName: "flow.Workload", name, kind })),
    clusterName: names?.clusterName ?? "",
  };
  if (names !== undefined) endpoints.set(names, { labels, message: share(message) });
  return message;
}

const eventTypes = new Map<number, CiliumEventType>();

/** The type of an event; the same message for all of a kind. */
export function eventTypeMessage(type: number, subType: number): CiliumEventType {
  const key = type * 0x10000 + subType;
  const message = eventTypes.get(key) ?? share<CiliumEventType>({ $typeName: "flow.CiliumEventType", type, subType });
  eventTypes.set(key, message);
  return message;
}

const interfaces = new Map<number, NetworkInterface>();
const KEPT_INTERFACES = 1024;

/** A network device; the same message for all flows while its name stays. */
export function interfaceMessage(index: number, name: string): NetworkInterface {
  const known = interfaces.get(index);
  if (known?.name === name) return known;
  if (interfaces.size >= KEPT_INTERFACES) interfaces.clear();
  const message = share<NetworkInterface>({ $typeName: "flow.NetworkInterface", index, name });
  interfaces.set(index, message);
  return message;
}

/** Addresses of a packet. */
export function ipMessage(source: string, destination: string): IP {
  const ipVersion = (destination || source).includes(":") ? IPVersion.IPv6 : IPVersion.IPv4;
  return { $typeName: "flow.IP", source, destination, ipVersion, encrypted: false, sourceXlated: "" };
}

/** A service of a flow; undefined stays undefined. */
export function serviceMessage(service: { readonly name: string; readonly namespace: string } | undefined): Service | undefined {
  return service === undefined ? undefined : { $typeName: "flow.Service", name: service.name, namespace: service.namespace };
}

/** Policies without repeats, in their order. */
export function policyMessages(rules: readonly PolicyNames[]): Policy[] {
  const seen = new Map<string, Policy>();
  for (const { kind, namespace, name, labels, revision } of rules) {
    const key = `${kind}/${namespace}/${name}`;
    if (seen.has(key)) continue;
    seen.set(key, share({ $typeName: "flow.Policy", name, namespace, labels: [...labels], revision: BigInt(revision), kind }));
  }
  return [...seen.values()];
}
