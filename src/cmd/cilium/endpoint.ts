import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { EndpointShape } from "./shapes.ts";

export type Layout = "cilium" | "cilium-dbg";

interface EndpointOnNode {
  readonly node: string;
  readonly endpoint: EndpointShape;
}

/** `endpoint list`: every endpoint of every agent asked, by id. */
export async function endpointList(
  options: AskOptions & { readonly output?: string; readonly layout: Layout; readonly labels?: string; readonly headers?: boolean },
): Promise<string> {
  const query = options.labels ? `?labels=${encodeURIComponent(options.labels)}` : "";
  const answers = await askAgents<EndpointShape[]>(`/v1/endpoint${query}`, options);
  const found = answers.flatMap(({ node, value }) => value.map((endpoint): EndpointOnNode => ({ node, endpoint })));
  found.sort((a, b) => a.node.localeCompare(b.node) || a.endpoint.id - b.endpoint.id);
  if (options.output)
    return formatOutput(
      options.output,
      found.map(({ endpoint }) => endpoint),
    );
  const headers = options.headers ?? true;
  return options.layout === "cilium" ? formatShort(found, answers.length > 1, headers) : formatUpstream(found, headers);
}

/** `endpoint get ID…`: the endpoints with one of these ids, as a JSON array. Throws when no agent has any. */
export async function endpointGet(ids: readonly string[], options: AskOptions & { readonly output?: string }): Promise<string> {
  const answers = await askAgents<EndpointShape[]>("/v1/endpoint", options);
  const all = answers.flatMap(({ value }) => value);
  const found = ids.flatMap((id) => all.filter((endpoint) => matchesId(endpoint, id)));
  if (found.length === 0) throw new Error(`no endpoint ${ids.join(", ")}; see: cilium endpoint list`);
  return formatOutput(options.output ?? "json", found);
}

/**
 * `endpoint config ID [OPTION=VALUE…]`: an endpoint's options, after changing those that are given. Numbers are only unique on a node: an id that
 * several have is refused. Rejects with the agent's words when an option is none.
 */
export async function endpointConfig(
  id: string,
  changes: readonly string[],
  options: AskOptions & { readonly output?: string },
): Promise<string> {
  const answers = await askAgents<EndpointShape[]>("/v1/endpoint", options);
  const found = answers.flatMap(({ node, value }) =>
    value.filter((endpoint) => matchesId(endpoint, id)).map((endpoint) => ({ node, endpoint })),
  );
  const [first, ...more] = found;
  if (first === undefined) throw new Error(`no endpoint ${id}; see: cilium endpoint list`);
  if (more.length > 0)
    throw new Error(`endpoint ${id} is on ${found.map(({ node }) => node).join(" and on ")}; say which with --node, or NAMESPACE/POD`);
  const path = `/v1/endpoint/${first.endpoint.id}`;
  const body = { options: Object.fromEntries(changes.map(optionOf)) };
  const asked = { ...options, ...(first.node === "" ? {} : { node: first.node }) };
  const [answer] =
    changes.length === 0
      ? await askAgents<EndpointConfigShape>(path, asked)
      : await askAgents<EndpointConfigShape>(`${path}/config`, asked, { method: "PATCH", body });
  const shown = answer?.value.spec?.options ?? {};
  return options.output ? formatOutput(options.output, shown) : formatTable([], Object.entries(shown));
}

interface EndpointConfigShape {
  readonly spec?: { readonly options?: Readonly<Record<string, string>> };
}

function optionOf(text: string): [string, string] {
  const [name, value, ...rest] = text.split("=");
  if (!name || value === undefined || rest.length > 0)
    throw new Error(`found "${text}", needed is OPTION=VALUE such as PolicyAuditMode=Enabled`);
  return [name, value];
}

/** Accepts `1423`, `cilium-local:1423`, `pod-name:NAMESPACE:POD` and `NAMESPACE/POD`. */
function matchesId(endpoint: EndpointShape, id: string): boolean {
  const external = endpoint.status?.["external-identifiers"] ?? {};
  const pod = `${external["k8s-namespace"]}/${external["k8s-pod-name"]}`;
  const [prefix, ...rest] = id.split(":");
  if (prefix === "pod-name") return pod === rest.join("/");
  if (id.includes("/")) return pod === id;
  return String(endpoint.id) === (rest[0] ?? id);
}

function enforcement({ status }: EndpointShape): { ingress: string; egress: string } {
  const enabled = status?.policy?.realized?.["policy-enabled"] ?? "none";
  const audit = enabled.startsWith("audit-") ? " (Audit)" : "";
  const word = (direction: string) =>
    enabled.endsWith(direction) || enabled.endsWith("both") ? (audit ? `Disabled${audit}` : "Enabled") : "Disabled";
  return { ingress: word("ingress"), egress: word("egress") };
}

function formatShort(found: readonly EndpointOnNode[], manyNodes: boolean, headers: boolean): string {
  const rows = found.map(({ node, endpoint }) => {
    const { ingress, egress } = enforcement(endpoint);
    const labels = endpoint.status?.identity?.labels ?? [];
    return [
      String(endpoint.id),
      String(endpoint.status?.identity?.id ?? ""),
      labels.join(","),
      ingress,
      egress,
      ...(manyNodes ? [node] : []),
    ];
  });
  return formatTable(headers ? ["ENDPOINT", "IDENTITY", "LABELS", "INGRESS", "EGRESS", ...(manyNodes ? ["NODE"] : [])] : [], rows);
}

function formatUpstream(found: readonly EndpointOnNode[], headers: boolean): string {
  const rows = found.flatMap(({ endpoint }) => {
    const { ingress, egress } = enforcement(endpoint);
    const address = endpoint.status?.networking?.addressing?.[0] ?? {};
    const labels = endpoint.status?.identity?.labels ?? [];
    const identity = String(endpoint.status?.identity?.id ?? "<no label id>");
    const first = [
      String(endpoint.id),
      ingress,
      egress,
      identity,
      labels[0] ?? "no labels",
      address.ipv6 ?? "",
      address.ipv4 ?? "",
      endpoint.status?.state ?? "",
    ];
    return [first, ...labels.slice(1).map((label) => ["", "", "", "", label, "", "", ""])];
  });
  const second = ["", "ENFORCEMENT", "ENFORCEMENT", "", "", "", "", ""];
  const headings = ["ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY", "LABELS (source:key[=value])", "IPv6", "IPv4", "STATUS"];
  return headers ? formatTable(headings, [second, ...rows]) : formatTable([], rows);
}
