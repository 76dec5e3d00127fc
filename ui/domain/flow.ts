/** The parts of a flow (Hubble's JSON, proto names) that the page shows. */
export interface Flow {
  readonly time?: string;
  readonly uuid?: string;
  readonly verdict?: string;
  readonly Summary?: string;
  readonly Type?: string;
  readonly event_type?: { readonly type?: number; readonly sub_type?: number };
  readonly is_reply?: boolean;
  readonly traffic_direction?: "INGRESS" | "EGRESS";
  readonly node_name?: string;
  readonly IP?: { readonly source?: string; readonly destination?: string };
  readonly l4?: { readonly TCP?: Ports; readonly UDP?: Ports; readonly SCTP?: Ports; readonly ICMPv4?: Icmp; readonly ICMPv6?: Icmp };
  readonly l7?: Layer7;
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  readonly source_names?: readonly string[];
  readonly destination_names?: readonly string[];
  readonly source_service?: Service;
  readonly destination_service?: Service;
  readonly drop_reason_desc?: string;
  readonly ingress_allowed_by?: readonly Policy[];
  readonly egress_allowed_by?: readonly Policy[];
  readonly ingress_denied_by?: readonly Policy[];
  readonly egress_denied_by?: readonly Policy[];
  readonly extensions?: Explanation;
}

interface Ports {
  readonly source_port?: number;
  readonly destination_port?: number;
}

interface Service {
  readonly name?: string;
  readonly namespace?: string;
}

interface Icmp {
  readonly type?: number;
}

export interface Layer7 {
  readonly type?: string;
  readonly latency_ns?: string;
  readonly http?: { readonly method?: string; readonly url?: string; readonly code?: number };
  readonly dns?: { readonly query?: string; readonly rcode?: number; readonly ips?: readonly string[] };
}

export interface Endpoint {
  readonly namespace?: string;
  readonly pod_name?: string;
  readonly identity?: number;
  readonly labels?: readonly string[];
  readonly workloads?: readonly { readonly name?: string; readonly kind?: string }[];
}

export interface Policy {
  readonly name?: string;
  readonly namespace?: string;
  readonly kind?: string;
}

/** Our own record of why (`cilia.Explanation`). */
export interface Explanation {
  readonly rules?: readonly RuleRef[];
  readonly lines?: readonly string[];
  readonly nearest?: readonly { readonly rule?: RuleRef; readonly reasons?: readonly string[] }[];
  readonly fix?: string;
}

export interface RuleRef {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly section?: string;
  readonly index?: number;
  readonly line?: number;
  readonly direction?: string;
}

export type Side = "source" | "destination";

/** What stands at one end of a flow. `id` is unique on the map. */
export interface Peer {
  readonly id: string;
  readonly kind: "workload" | "service" | "world" | "reserved";
  /** Empty for what is in none. */
  readonly namespace: string;
  readonly name: string;
}

// What Kubernetes appends to a Deployment's pods: the ReplicaSet's hash and five letters, of an alphabet that makes no words.
const OF_A_DEPLOYMENT = /-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/** The workload of a pod; by the pod's name where the node that saw it does not know yet whose pod it is. */
export function workloadOf({ workloads, pod_name }: Endpoint): string | undefined {
  return workloads?.[0]?.name ?? pod_name?.replace(OF_A_DEPLOYMENT, "");
}

/** The workload, else pod, service (that has no backend), reserved name, DNS name or address of one side. */
export function peerOf(flow: Flow, side: Side): Peer {
  const endpoint = flow[side];
  const workload = endpoint && workloadOf(endpoint);
  if (workload) {
    const namespace = endpoint?.namespace ?? "";
    return { id: `${namespace}/${workload}`, kind: "workload", namespace, name: workload };
  }
  const service = side === "source" ? flow.source_service : flow.destination_service;
  if (service?.name) {
    const namespace = service.namespace ?? "";
    return { id: `${namespace}/${service.name}:service`, kind: "service", namespace, name: service.name };
  }
  const reserved = endpoint?.labels?.find((label) => label.startsWith("reserved:"))?.slice("reserved:".length);
  const isWorld = reserved === undefined || reserved.startsWith("world");
  const [dnsName] = (side === "source" ? flow.source_names : flow.destination_names) ?? [];
  const name = isWorld ? (dnsName ?? flow.IP?.[side] ?? "unknown") : reserved;
  return { id: `:${name}`, kind: isWorld ? "world" : "reserved", namespace: "", name };
}

/** Who opened the connection: replies come from the other side. */
export function clientSide(flow: Flow): Side {
  return flow.is_reply ? "destination" : "source";
}

/** The side that was connected to. */
export function serverSide(flow: Flow): Side {
  return flow.is_reply ? "source" : "destination";
}

/** `80/TCP` of the side that was connected to, `ICMPv4`; empty when unknown. */
export function servedPort(flow: Flow): string {
  const [protocol, header] = Object.entries(flow.l4 ?? {})[0] ?? [];
  if (protocol === undefined) return "";
  const port = (header as Ports)[serverSide(flow) === "source" ? "source_port" : "destination_port"];
  return port ? `${port}/${protocol}` : protocol;
}

/** The port of one side, 0 for none. */
export function portOf(flow: Flow, side: Side): number {
  const header = flow.l4?.TCP ?? flow.l4?.UDP ?? flow.l4?.SCTP;
  return header?.[side === "source" ? "source_port" : "destination_port"] ?? 0;
}

/** A step of service translation, before the packet: its connection is shown already. */
export function isSocketStep({ verdict }: Flow): boolean {
  return verdict === "TRACED" || verdict === "TRANSLATED";
}

/** Whether it was stopped: `DROPPED`, or refused by the proxy. */
export function isDenied(flow: Flow): boolean {
  return flow.verdict === "DROPPED" || flow.verdict === "ERROR";
}

/** `GET /get` without query, or the name that was asked for; undefined for a flow without L7. */
export function requestText({ l7 }: Flow): string | undefined {
  if (l7?.http?.method) return `${l7.http.method} ${(l7.http.url ?? "").replace(/^[a-z]+:\/\/[^/]*/, "").replace(/[?#].*$/, "")}`;
  return l7?.dns?.query;
}

/** `demo/deny (ingress)` for each policy that stopped the flow, and those of its rules that are known. */
export function deniedBy(flow: Flow): string[] {
  const list = (policies: readonly Policy[] | undefined, direction: string) =>
    (policies ?? []).map(({ namespace, name }) => `${namespace ? `${namespace}/` : ""}${name} (${direction})`);
  return [...list(flow.ingress_denied_by, "ingress"), ...list(flow.egress_denied_by, "egress")];
}

/** `demo/deny (ingress) rule 0, line 12`. */
export function ruleText({ namespace, name, direction, section, index, line }: RuleRef): string {
  const place = namespace ? `${namespace}/${name}` : (name ?? "");
  const rule = index === undefined ? "" : ` rule ${index}${section?.endsWith("Deny") ? ` of ${section}` : ""}`;
  return `${place}${direction ? ` (${direction})` : ""}${rule}${line ? `, line ${line}` : ""}`;
}
