import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { root } from "./lab.ts";

/** A question that an alert or a panel asks of Prometheus. */
export interface Query {
  readonly where: string;
  readonly expr: string;
  /** The metrics that it names. */
  readonly metrics: readonly string[];
  /** The labels that it selects and groups by. */
  readonly labels: readonly string[];
}

/** Labels that Prometheus itself adds. */
const OF_THE_SCRAPE = new Set(["instance", "job"]);

/** Metrics that are there when something was counted, which the demo gives no reason for, or when they are enabled. */
const NOT_IN_THE_DEMO = new Set(["hubble_http_responses_total", "hubble_icmp_total"]);
/** Questions whose answer is nothing where all is well. */
const SILENT_IN_THE_DEMO = /rcode!=/;

/** All queries of `examples/monitoring`; for all nodes, over 15 minutes, where Grafana fills in what it shows. */
export function monitoringQueries(): Query[] {
  const read = (name: string) => readFileSync(`${root}examples/monitoring/${name}`, "utf8");
  const { groups } = parse(read("hubble-alerts.yaml")) as { groups: { rules: { alert: string; expr: string }[] }[] };
  const alerts = groups.flatMap(({ rules }) => rules).map(({ alert, expr }) => [alert, expr] as const);
  const panels = ["hubble-dashboard.json", "cilium-agent-dashboard.json"].flatMap((name) => {
    const dashboard = JSON.parse(read(name)) as { panels: { title: string; targets: { expr: string }[] }[] };
    return dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [`${name}: ${title}`, expr] as const));
  });
  return [...alerts, ...panels].map(([where, written]) => {
    const expr = written.replaceAll("$instance", ".*").replaceAll("$__rate_interval", "15m");
    const inBraces = [...expr.matchAll(/\{([^}]*)\}/g)].flatMap(([, text = ""]) =>
      [...text.matchAll(/(\w+)\s*[=!]~?=?"/g)].map(([, name]) => name),
    );
    const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, text = ""]) => text.split(",").map((name) => name.trim()));
    const labels = new Set([...inBraces, ...grouped].filter((name) => name !== undefined && !OF_THE_SCRAPE.has(name)) as string[]);
    return { where, expr, metrics: [...new Set(expr.match(/\b(hubble|cilium)_[a-z0-9_]+/g) ?? [])], labels: [...labels] };
  });
}

/** Asks Prometheus' API: the `data` of its answers. */
export type Ask = (paths: readonly string[]) => Promise<unknown[]>;

type Series = Readonly<Record<string, string>>;

/** What is wrong with the queries: metrics and labels that there are not, and panels without data. */
export async function problemsOf(queries: readonly Query[], ask: Ask): Promise<string[]> {
  const all = `series?match%5B%5D=${encodeURIComponent('{__name__=~"hubble_.+|cilium_.+"}')}`;
  const [series, ...answers] = await ask([all, ...queries.map(({ expr }) => `query?query=${encodeURIComponent(expr)}`)]);
  const known = new Map<string, Set<string>>();
  for (const { __name__ = "", ...labels } of (series ?? []) as Series[]) {
    known.set(__name__, new Set([...(known.get(__name__) ?? []), ...Object.keys(labels)]));
  }
  return queries.flatMap((query, index) =>
    problemsOfOne(query, known, (answers[index] as { result?: unknown[] } | undefined)?.result ?? []),
  );
}

function problemsOfOne(
  { where, expr, metrics, labels }: Query,
  known: ReadonlyMap<string, ReadonlySet<string>>,
  result: unknown[],
): string[] {
  const missing = metrics.filter((metric) => !known.has(metric));
  if (missing.length > 0)
    return missing.filter((metric) => !NOT_IN_THE_DEMO.has(metric)).map((metric) => `${where}: there is no ${metric}`);
  const unknown = labels.filter((label) => !metrics.some((metric) => known.get(metric)?.has(label)));
  // An alert should say nothing; a panel should.
  const isSilent = where.includes(".json") && result.length === 0 && !SILENT_IN_THE_DEMO.test(expr);
  return [...unknown.map((label) => `${where}: no label ${label} in ${expr}`), ...(isSilent ? [`${where}: no data for ${expr}`] : [])];
}
