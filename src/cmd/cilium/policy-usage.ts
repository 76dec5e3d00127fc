import type { RuleUsage } from "#agent/usage-view.ts";
import { type RuleRef, ruleKey, sectionPath } from "#policy/rule.ts";
import { CodedError } from "#runtime/errors.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";

export class UsageError extends CodedError {}

export interface UsageOptions extends AskOptions {
  readonly output?: string;
  /** Only rules without a hit for so long. */
  readonly unusedFor?: string;
}

/** `policy usage`. Rejects when no agent answers or a flag cannot be read. */
export async function policyUsage(policies: readonly string[], options: UsageOptions): Promise<string> {
  const now = Date.now();
  const since = options.unusedFor === undefined ? undefined : now - parseSpan(options.unusedFor);
  const all = (await usageOf(options)).filter((row) => policies.length === 0 || policies.some((name) => isNamed(row, name)));
  if (policies.length > 0 && all.length === 0) throw new UsageError("no-policy", `no policy is called ${policies.join(" or ")}`);
  const rows = since === undefined ? all : all.filter((row) => isUnused(row, since));
  if (options.output) return formatOutput(options.output, rows);
  if (rows.length === 0)
    return since === undefined ? "There are no policies.\n" : `Every rule that is older has had a hit in the last ${options.unusedFor}.\n`;
  return usageTable(rows, now);
}

/** What a rule has decided on all nodes together. */
export interface ClusterUsage extends RuleUsage {
  /** Nodes with endpoints that it selects: they enforce it. */
  readonly nodes: readonly string[];
}

/** What all rules have decided on all nodes that answer. */
export async function usageOf(options: AskOptions): Promise<ClusterUsage[]> {
  const answers = await askAgents<RuleUsage[]>("/v1/policy/usage", options);
  return addUp(answers.flatMap(({ node, value }) => value.map((row) => ({ ...row, nodes: row.endpoints > 0 ? [node] : [] }))));
}

/** The same rule on several nodes as one: counts added, the newest hit. */
function addUp(answers: readonly ClusterUsage[]): ClusterUsage[] {
  const rows = new Map<string, ClusterUsage>();
  for (const row of answers) {
    const key = `${row.kind}/${row.namespace}/${row.name} ${row.spec} ${row.section} ${row.direction} ${row.index}`;
    const old = rows.get(key);
    rows.set(key, old === undefined ? row : sum(old, row));
  }
  return [...rows.values()].sort((a, b) => compare(titleOf(a), titleOf(b)) || compare(ruleOf(a), ruleOf(b)));
}

function sum(a: ClusterUsage, b: ClusterUsage): ClusterUsage {
  return {
    ...a,
    nodes: [...a.nodes, ...b.nodes].sort(),
    endpoints: a.endpoints + b.endpoints,
    entries: a.entries + b.entries,
    // Shadowed is who has nothing to say on any node, and something to say on none.
    shadowed: (a.shadowed || b.shadowed) && a.entries + b.entries === 0,
    decidedBy: [...new Map([...a.decidedBy, ...b.decidedBy].map((one) => [ruleKey(one), one])).values()],
    redundantTo: redundantOn(a, b),
    packets: a.packets + b.packets,
    bytes: a.bytes + b.bytes,
    audited: a.audited + b.audited,
    requests: {
      allowed: a.requests.allowed + b.requests.allowed,
      denied: a.requests.denied + b.requests.denied,
      audited: a.requests.audited + b.requests.audited,
    },
    lastHit: [a.lastHit, b.lastHit].sort().at(-1) ?? "",
  };
}

/** What could go on one node only has to stay. */
function redundantOn(a: RuleUsage, b: RuleUsage): readonly RuleRef[] {
  if (a.entries === 0) return b.redundantTo;
  if (b.entries === 0) return a.redundantTo;
  return a.redundantTo.filter((one) => b.redundantTo.some((other) => ruleKey(one) === ruleKey(other)));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function isNamed({ namespace, name }: RuleUsage, wanted: string): boolean {
  return wanted === name || wanted === `${namespace}/${name}`;
}

/** A rule that is younger than the window has had no time to be used. Denying that meets nobody is what one hopes for. */
function isUnused({ section, empty, created, lastHit }: RuleUsage, since: number): boolean {
  if (section === "default-deny" || empty) return false;
  const last = lastHit === "" ? Date.parse(created) : Date.parse(lastHit);
  return !(last > since);
}

const SPANS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `1h30m`, `7d` in milliseconds. */
function parseSpan(text: string): number {
  const parts = [...text.matchAll(/(\d+)([smhd])/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) {
    throw new UsageError("bad-duration", `--unused-for: found "${text}", needed is a duration such as 30m, 1h or 7d`);
  }
  return parts.reduce((total, [, count, unit]) => total + Number(count) * (SPANS[unit ?? ""] ?? 0), 0);
}

function usageTable(rows: readonly ClusterUsage[], now: number): string {
  const headings = ["POLICY", "RULE", "NODES", "PODS", "PACKETS", "BYTES", "REQUESTS", "LAST HIT", "NOTE"];
  let last = "";
  const lines = rows.map((row) => {
    const title = titleOf(row);
    const { allowed, denied } = row.requests;
    const requests = allowed + denied === 0 ? "" : `${allowed}${denied > 0 ? ` + ${denied} denied` : ""}`;
    const counts = [
      String(row.nodes.length),
      String(row.endpoints),
      String(row.packets),
      bytesText(row.bytes),
      requests,
      ago(row.lastHit, now),
      noteOf(row),
    ];
    const cells = [title === last ? "" : title, ruleOf(row), ...counts];
    last = title;
    return cells;
  });
  return formatTable(headings, lines);
}

const SHORT: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: "cnp",
  CiliumClusterwideNetworkPolicy: "ccnp",
  NetworkPolicy: "netpol",
  ClusterNetworkPolicy: "cnetpol",
};

function titleOf({ kind, namespace, name }: Pick<RuleUsage, "kind" | "namespace" | "name">): string {
  return `${SHORT[kind] ?? kind}/${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function ruleOf({ section, index, spec, direction }: RuleUsage): string {
  return section === "default-deny" ? `${direction} default deny` : sectionPath({ section, index, spec });
}

/** `3 packets, 1 request`: what audit mode let pass. Empty: nothing. */
export function auditedText({ audited, requests }: Pick<RuleUsage, "audited" | "requests">): string {
  const counted = (count: number, what: string) => (count === 0 ? [] : [`${count} ${what}${count === 1 ? "" : "s"}`]);
  return [...counted(audited, "packet"), ...counted(requests.audited, "request")].join(", ");
}

function noteOf(row: RuleUsage): string {
  const { section, endpoints, entries, shadowed, decidedBy, redundantTo, empty, audit } = row;
  const audited = auditedText(row);
  const notes = audited !== "" ? [`audit: ${audited} would be denied`] : audit ? ["audit"] : [];
  if (shadowed) notes.push(decidedBy.length > 0 ? `shadowed by ${refsText(decidedBy)}` : "shadowed: other rules cover it");
  else if (endpoints === 0) notes.push("selects no pod");
  else if (empty) notes.push("denies on purpose: it allows nobody");
  else if (entries === 0 && section !== "default-deny") notes.push("matches nobody");
  else if (redundantTo.length > 0) notes.push(`decides what ${refsText(redundantTo)} would decide without it; lint L10 says it can go`);
  else if (decidedBy.length > 0)
    notes.push(`where narrower, ${refsText(decidedBy)} ${decidedBy.length > 1 ? "decide and count" : "decides and counts"} in its stead`);
  return notes.join("; ");
}

/** Rules as the table names them; the first few. */
function refsText(refs: readonly RuleRef[]): string {
  const shown = refs.slice(0, 2).map((ref) => `${titleOf(ref)} ${sectionPath(ref)}`);
  return `${shown.join(" and ")}${refs.length > shown.length ? ` and ${refs.length - shown.length} more` : ""}`;
}

function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}

/** `12s ago`; `never`. */
function ago(time: string, now: number): string {
  if (time === "") return "never";
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds}s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h ago` : `${Math.round(seconds / 86_400)}d ago`;
}
