import { type Endpoint, type Flow, portOf, serverSide, workloadOf } from "./flow.ts";

const NAMESPACE = "io.kubernetes.pod.namespace";
/** Labels that name a workload, the most telling first; the others change with every rollout or say nothing. */
const TELLING = ["app.kubernetes.io/name", "app", "k8s-app", "name", "app.kubernetes.io/component", "tier", "role"];
const GENERATED =
  /^(io\.cilium\.|io\.kubernetes\.|pod-template-hash$|controller-revision-hash$|statefulset\.kubernetes\.io\/|batch\.kubernetes\.io\/)/;

/** A policy that would allow a denied flow, as YAML to look over and apply. Undefined when one end is unknown, or it is no flow that a policy stopped. */
export function allowingPolicy(flow: Flow): string | undefined {
  const direction = flow.ingress_denied_by?.length || flow.traffic_direction === "INGRESS" ? "ingress" : "egress";
  const server = serverSide(flow);
  const client = server === "source" ? "destination" : "source";
  const [subject, peer] = direction === "ingress" ? [flow[server], flow[client]] : [flow[client], flow[server]];
  const name = subject && workloadOf(subject);
  const selector = subject && labelLines(subject, subject.namespace ?? "");
  const who = peer && peerLines(peer, direction, subject?.namespace ?? "", flow);
  if (!subject?.namespace || !name || !selector?.length || !who) return undefined;
  return [
    "apiVersion: cilium.io/v2",
    "kind: CiliumNetworkPolicy",
    "metadata:",
    `  name: allow-${name}-${direction}`,
    `  namespace: ${subject.namespace}`,
    "spec:",
    "  endpointSelector:",
    "    matchLabels:",
    ...selector.map((line) => `      ${line}`),
    `  ${direction}:`,
    ...who.map((line, index) => `  ${index === 0 ? "-" : " "} ${line}`),
    ...portLines(flow).map((line) => `    ${line}`),
    "",
  ].join("\n");
}

function peerLines(peer: Endpoint, direction: "ingress" | "egress", namespace: string, flow: Flow): string[] | undefined {
  const way = direction === "ingress" ? "from" : "to";
  const reserved = peer.labels?.find((label) => label.startsWith("reserved:"))?.slice("reserved:".length);
  const [dnsName] = direction === "egress" ? (flow.destination_names ?? []) : [];
  if (dnsName !== undefined) return ["toFQDNs:", `- matchName: ${quoted(dnsName)}`];
  if (reserved !== undefined) return [`${way}Entities:`, `- ${reserved}`];
  const labels = labelLines(peer, namespace);
  return labels.length === 0 ? undefined : [`${way}Endpoints:`, "- matchLabels:", ...labels.map((line) => `    ${line}`)];
}

/** `matchLabels` that select a workload from a policy in a namespace, as lines of YAML; none when it has no telling label. */
export function labelLines(end: Pick<Endpoint, "labels" | "namespace">, namespace: string): string[] {
  const labels = selectorLabels(end);
  const all = labels.length > 0 && end.namespace && end.namespace !== namespace ? [...labels, [NAMESPACE, end.namespace] as const] : labels;
  return all.map(([key, value]) => `${quoted(key)}: ${quoted(value)}`);
}

function portLines(flow: Flow): string[] {
  const protocol = Object.keys(flow.l4 ?? {})[0];
  const port = portOf(flow, serverSide(flow));
  if (protocol === undefined || port === 0) return [];
  const lines = ["toPorts:", "- ports:", `  - port: ${quoted(String(port))}`, `    protocol: ${protocol}`];
  const { method, url } = flow.l7?.http ?? {};
  if (method === undefined) return lines;
  const path = (url ?? "/").replace(/^[a-z]+:\/\/[^/]*/, "").replace(/[?#].*$/, "");
  return [...lines, "  rules:", "    http:", `    - method: ${quoted(method)}`, `      path: ${quoted(escapeRegex(path || "/"))}`];
}

/** The labels that name a workload best. */
export function selectorLabels({ labels }: Pick<Endpoint, "labels">): (readonly [string, string])[] {
  const pairs = (labels ?? []).flatMap((label) => {
    const [, key, value] = /^k8s:([^=]+)=(.*)$/.exec(label) ?? [];
    return key === undefined || value === undefined || GENERATED.test(key) ? [] : [[key, value] as const];
  });
  const telling = TELLING.flatMap((wanted) => pairs.filter(([key]) => key === wanted));
  return telling.length > 0 ? telling.slice(0, 1) : pairs;
}

function escapeRegex(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** A text as YAML: JSON strings are YAML strings; plain words need no quotes. */
export function quoted(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null)$/i.test(text) ? text : JSON.stringify(text);
}
