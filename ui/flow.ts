/** The parts of a flow (Hubble's JSON) that the page shows. */
export interface Flow {
  readonly time?: string;
  readonly uuid?: string;
  readonly verdict?: string;
  readonly Summary?: string;
  readonly Type?: string;
  readonly event_type?: { readonly type?: number };
  readonly is_reply?: boolean;
  readonly IP?: { readonly source?: string; readonly destination?: string };
  readonly l4?: { readonly TCP?: Ports; readonly UDP?: Ports };
  readonly l7?: { readonly http?: { readonly method?: string; readonly url?: string; readonly code?: number } };
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  readonly source_names?: readonly string[];
  readonly destination_names?: readonly string[];
  readonly drop_reason_desc?: string;
  readonly ingress_denied_by?: readonly Policy[];
  readonly egress_denied_by?: readonly Policy[];
}

interface Ports {
  readonly source_port?: number;
  readonly destination_port?: number;
}

interface Endpoint {
  readonly namespace?: string;
  readonly pod_name?: string;
  readonly labels?: readonly string[];
  readonly workloads?: readonly { readonly name?: string }[];
}

interface Policy {
  readonly name?: string;
  readonly namespace?: string;
}

export type Side = "source" | "destination";

/** The workload, else pod, reserved name, DNS name or address of one side. */
export function peerName(flow: Flow, side: Side): string {
  const endpoint = flow[side];
  const workload = endpoint?.workloads?.[0]?.name ?? endpoint?.pod_name;
  if (workload) return `${endpoint?.namespace ?? ""}/${workload}`;
  const reserved = endpoint?.labels?.find((label) => label.startsWith("reserved:"))?.slice("reserved:".length);
  const name = (side === "source" ? flow.source_names : flow.destination_names)?.[0];
  const address = flow.IP?.[side];
  return [name ?? address, reserved && `(${reserved})`].filter(Boolean).join(" ");
}

/** Whether one side of the flow is in the namespace; every flow for the empty name. */
export function inNamespace(flow: Flow, namespace: string): boolean {
  return namespace === "" || flow.source?.namespace === namespace || flow.destination?.namespace === namespace;
}

/** Which policies stopped the flow, with the direction. */
export function deniedBy(flow: Flow): string {
  const list = (policies: readonly Policy[] | undefined, direction: string) =>
    (policies ?? []).map(({ namespace, name }) => `${namespace ? `${namespace}/` : ""}${name} (${direction})`);
  return [...list(flow.ingress_denied_by, "ingress"), ...list(flow.egress_denied_by, "egress")].join(", ");
}

/** One connection between two workloads, summed up. */
export interface Edge {
  readonly source: string;
  readonly destination: string;
  readonly port: string;
  readonly http: Set<string>;
  forwarded: number;
  dropped: number;
}

/** Adds a flow to the edges. Replies and flows without a known direction of the connection do not count. */
export function addToEdges(edges: Map<string, Edge>, flow: Flow): void {
  if (flow.is_reply) return;
  const port = flow.l4?.TCP ? `${flow.l4.TCP.destination_port}/TCP` : flow.l4?.UDP ? `${flow.l4.UDP.destination_port}/UDP` : "";
  if (port === "") return;
  const [source, destination] = [peerName(flow, "source"), peerName(flow, "destination")];
  const key = `${source} ${destination} ${port}`;
  const edge = edges.get(key) ?? { source, destination, port, http: new Set<string>(), forwarded: 0, dropped: 0 };
  edges.set(key, edge);
  if (flow.verdict === "DROPPED") edge.dropped += 1;
  else edge.forwarded += 1;
  const http = flow.l7?.http;
  if (http?.method && http.url) edge.http.add(`${http.method} ${http.url.replace(/^https?:\/\/[^/]*/, "").split("?")[0]}`);
}
