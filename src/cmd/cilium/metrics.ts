import { CodedError } from "#runtime/errors.ts";
import { type AskOptions, askAgents } from "./agents.ts";
import { formatOutput, formatTable } from "./output.ts";

export class MetricsError extends CodedError {}

/** One sample, as the agent tells it. */
export interface Metric {
  readonly name: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

type MetricsOptions = AskOptions & { readonly output?: string; readonly matchPattern?: string };

/** `metrics list`: what the agents count. Rejects with `MetricsError` for a pattern that is no regular expression. */
export async function metricsList(options: MetricsOptions): Promise<string> {
  const pattern = patternOf(options.matchPattern ?? "");
  const answers = await askAgents<Metric[]>("/v1/metrics", options);
  const found = answers.map(({ node, value }) => ({ node, metrics: value.filter(({ name }) => pattern.test(name)) }));
  if (options.output) {
    const rows = found.flatMap(({ node, metrics }) => metrics.map((metric) => (node === "" ? metric : { node, ...metric })));
    return formatOutput(options.output, rows);
  }
  return found.map(({ node, metrics }) => `${node === "" ? "" : `Node ${node}:\n`}${formatMetrics(metrics)}`).join("\n");
}

/** The agent's table: name, labels, value. */
export function formatMetrics(metrics: readonly Metric[]): string {
  const rows = metrics.map(({ name, labels, value }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}=${JSON.stringify(String(text))}`);
    return [name, pairs.join(" "), value.toFixed(6)];
  });
  return formatTable(["Metric", "Labels", "Value"], rows);
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw new MetricsError("bad-pattern", `--match-pattern: "${text}" is no regular expression, such as cilium_drop.*`, { cause });
  }
}
