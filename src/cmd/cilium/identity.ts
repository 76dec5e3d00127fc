import { type AskOptions, askAgents } from "./agents.ts";
import type { Layout } from "./endpoint.ts";
import { formatOutput, formatTable } from "./output.ts";
import type { IdentityShape } from "./shapes.ts";

type IdentityOptions = AskOptions & { readonly output?: string | undefined; readonly layout: Layout };

/** `identity list`: the identities that any of the agents knows. Local (CIDR) identities are a node's own and are listed once a node. */
export async function identityList(labels: readonly string[], options: IdentityOptions): Promise<string> {
  const identities = await askIdentities(options);
  return print(
    identities.filter((identity) => labels.every((label) => identity.labels?.includes(label))),
    options,
  );
}

/** `identity get ID`. Throws when no agent knows it. */
export async function identityGet(id: string, options: IdentityOptions): Promise<string> {
  const found = (await askIdentities(options)).filter((identity) => String(identity.id) === id);
  if (found.length === 0) throw new Error(`no identity ${id}; see: cilium identity list`);
  return print(found, options);
}

async function askIdentities(options: AskOptions): Promise<IdentityShape[]> {
  const answers = await askAgents<IdentityShape[]>("/v1/identity", options);
  const known = new Map<string, IdentityShape>();
  for (const identity of answers.flatMap(({ value }) => value)) known.set(`${identity.id} ${identity.labels?.join()}`, identity);
  return [...known.values()].sort((a, b) => a.id - b.id);
}

function print(identities: readonly IdentityShape[], options: IdentityOptions): Promise<string> | string {
  if (options.output) return formatOutput(options.output, identities);
  if (options.layout === "cilium") {
    return formatTable(
      ["IDENTITY", "LABELS (source:key[=value])"],
      identities.map(({ id, labels = [] }) => [String(id), labels.join(", ")]),
    );
  }
  const rows = identities.flatMap(({ id, labels = [] }) => [[String(id), labels[0] ?? ""], ...labels.slice(1).map((label) => ["", label])]);
  return formatTable(["ID", "LABELS"], rows);
}
