import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { BpfPolicyShape } from "./shapes.ts";

type BpfOptions = AskOptions & { readonly output?: string };

/** `bpf policy get|list [ENDPOINT]`: the policy maps as the kernel has them. Identity 0 is any peer. */
export async function bpfPolicy(endpoint: string | undefined, options: BpfOptions & { readonly numeric?: boolean }): Promise<string> {
  const answers = await askAgents<BpfPolicyShape[]>(`/v1/bpf/policy/${endpoint ?? "all"}`, options);
  if (options.output)
    return formatOutput(
      options.output,
      answers.flatMap(({ value }) => value),
    );
  const headings = [
    "POLICY",
    "DIRECTION",
    "LABELS (source:key[=value])",
    "PORT/PROTO",
    "PROXY PORT",
    "AUTH TYPE",
    "PREFIX",
    "COOKIE",
    "RULES",
  ];
  const sections = answers.flatMap(({ node, value }) =>
    value.map(({ endpoint: id, entries }) => {
      const title = `Endpoint ${id}${node ? ` on ${node}` : ""}:\n`;
      if (entries.length === 0) return `${title}  no entries: policy enforcement may be off for this endpoint\n`;
      const rows = entries.map((entry) => [
        entry.policy,
        entry.direction,
        entry.identity === 0 ? "ANY" : options.numeric ? String(entry.identity) : (entry.labels ?? [String(entry.identity)]).join(","),
        formatPort(entry),
        entry.proxyPort === 0 ? "NONE" : String(entry.proxyPort),
        entry.authType,
        String(entry.prefix),
        String(entry.cookie),
        (entry.rules ?? [])
          .map((rule) => `${rule.namespace ? `${rule.namespace}/` : ""}${rule.name} ${rule.section}[${rule.index}]`)
          .join(", "),
      ]);
      return title + formatTable(headings, rows);
    }),
  );
  return sections.join("\n");
}

function formatPort({ protocol, port, endPort }: BpfPolicyShape["entries"][number]): string {
  if (port === 0) return protocol === "ANY" ? "ANY" : `ANY/${protocol}`;
  return `${endPort && endPort !== port ? `${port}-${endPort}` : port}/${protocol}`;
}

/** `bpf ipcache list`: which identity each address has, as the kernel knows it. */
export async function bpfIpcache(options: BpfOptions): Promise<string> {
  const answers = await askAgents<readonly { cidr: string; identity: number; hostIP?: string }[]>("/v1/ip", options);
  const [first] = answers;
  if (options.output) return formatOutput(options.output, first?.value ?? []);
  const rows = (first?.value ?? []).map(({ cidr, identity, hostIP }) => [
    cidr,
    `identity=${identity} encryptkey=0 tunnelendpoint=${hostIP ?? "0.0.0.0"}`,
  ]);
  return formatTable(["IP PREFIX/ADDRESS", "IDENTITY"], rows);
}

/** `bpf ct list`: connections, one line each. */
export async function bpfConntrack(options: BpfOptions): Promise<string> {
  const answers = await askAgents<readonly Readonly<Record<string, unknown>>[]>("/v1/bpf/ct", options);
  const entries = answers.flatMap(({ value }) => value);
  if (options.output) return formatOutput(options.output, entries);
  return entries
    .map(({ protocol, direction, source, destination, ...rest }) => {
      const details = Object.entries(rest).map(([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`);
      return `${protocol} ${String(direction).toUpperCase()} ${source} -> ${destination} ${details.join(" ")}\n`;
    })
    .join("");
}

/** `bpf MAP list` for the other maps: the entries as the agent decodes them. */
export async function bpfMap(name: string, options: BpfOptions): Promise<string> {
  const answers = await askAgents<{ entries: readonly { key: unknown; value: unknown }[] }>(`/v1/map/${name}`, options);
  const entries = answers.flatMap(({ value }) => value.entries);
  if (options.output) return formatOutput(options.output, entries);
  return formatTable(
    ["KEY", "VALUE"],
    entries.map(({ key, value }) => [JSON.stringify(key), JSON.stringify(value)]),
  );
}
