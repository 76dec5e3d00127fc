import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";

/** A line of an agent's DNS cache. */
export interface LookupShape {
  readonly "endpoint-id": number;
  readonly source: string;
  readonly fqdn: string;
  readonly ips: readonly string[];
  readonly ttl: number;
  readonly "lookup-time": string;
  readonly "expiration-time": string;
  readonly pod?: string;
}

type CacheOptions = AskOptions & {
  readonly output?: string | undefined;
  readonly matchPattern?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly source?: string | undefined;
};

/** `fqdn cache list`: the names that pods have resolved, with the addresses that these may be reached at. */
export async function fqdnCacheList(options: CacheOptions): Promise<string> {
  const query = new URLSearchParams();
  if (options.matchPattern) query.set("matchpattern", options.matchPattern);
  if (options.source) query.set("source", options.source);
  const path = `/v1/fqdn/cache${options.endpoint ? `/${encodeURIComponent(options.endpoint)}` : ""}?${query}`;
  const answers = await askAgents<LookupShape[]>(path, options);
  if (options.output && options.output !== "wide")
    return formatOutput(
      options.output,
      answers.flatMap(({ value }) => value),
    );
  const wide = options.output === "wide";
  const rows = answers.flatMap(({ node, value }) => value.map((one) => rowOf(one, wide ? [node, one.pod ?? "", remaining(one)] : [])));
  const more = wide ? ["Node", "Pod", "Remaining"] : [];
  return formatTable(["Endpoint", "Source", "FQDN", "TTL", "ExpirationTime", "IPs", ...more], rows);
}

function rowOf(one: LookupShape, more: readonly string[]): string[] {
  const times = isExpired(one) ? ["-", "-"] : [String(one.ttl), one["expiration-time"]];
  return [String(one["endpoint-id"]), one.source, one.fqdn || "-", ...times, one.ips.join(","), ...more];
}

/** Kept for a connection alone: its names are forgotten. */
function isExpired(one: LookupShape): boolean {
  return one.source === "connection";
}

function remaining(one: LookupShape): string {
  if (isExpired(one)) return "-";
  return `${Math.max(0, Math.round((Date.parse(one["expiration-time"]) - Date.now()) / 1000))}s`;
}

/** `fqdn cache clean`: forgets names on all nodes; their addresses are closed until they are resolved again. */
export async function fqdnCacheClean(options: CacheOptions): Promise<string> {
  const query = options.matchPattern ? `?matchpattern=${encodeURIComponent(options.matchPattern)}` : "";
  await askAgents<unknown>(`/v1/fqdn/cache${query}`, options, { method: "DELETE" });
  return "FQDN proxy cache cleared\n";
}

/** `fqdn names`: the selectors of names in policies, as JSON. */
export async function fqdnNames(options: AskOptions & { readonly output?: string | undefined }): Promise<string> {
  const answers = await askAgents<{ readonly FQDNPolicySelectors: readonly { readonly selectorString: string }[] }>(
    "/v1/fqdn/names",
    options,
  );
  const selectors = new Map(answers.flatMap(({ value }) => value.FQDNPolicySelectors.map((one) => [one.selectorString, one] as const)));
  return formatOutput(options.output ?? "json", { DNSPollNames: null, FQDNPolicySelectors: [...selectors.values()] });
}
