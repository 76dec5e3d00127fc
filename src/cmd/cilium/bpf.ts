import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { BpfPolicyShape, ConntrackShape } from "./shapes.ts";

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

/** `bpf ct list`: connections, one line each, in upstream's words where it has one for the field. */
export async function bpfConntrack(options: BpfOptions): Promise<string> {
  const answers = await askAgents<readonly ConntrackShape[]>("/v1/bpf/ct", options);
  const entries = answers.flatMap(({ value }) => value);
  if (options.output) return formatOutput(options.output, entries);
  return entries.map((entry) => `${conntrackLine(entry)}\n`).join("");
}

/** One connection; `OUT` when a pod of the node opened it, else `IN`. */
export function conntrackLine(entry: ConntrackShape): string {
  const { protocol, source, destination, flags, expires, sourceIdentity, destinationIdentity, proxyPort } = entry;
  const end = ({ address, port }: ConntrackShape["source"]) => `${address.includes(":") ? `[${address}]` : address}:${port}`;
  return [
    `${protocol} ${destinationIdentity === 0 ? "IN" : "OUT"} ${end(source)} -> ${end(destination)}`,
    `expires=${expires}`,
    `Packets=${entry.txPackets}/${entry.rxPackets}`,
    `Bytes=${entry.txBytes}/${entry.rxBytes}`,
    `Flags=[ ${flags.join(" ")} ]`,
    `SourceSecurityID=${sourceIdentity}`,
    `DestinationSecurityID=${destinationIdentity}`,
    ...(proxyPort === 0 ? [] : [`ProxyPort=${proxyPort}`]),
  ].join(" ");
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
