import type { FlowFilter } from "#api/gen/flow/flow_pb.ts";

/** One metric as the setting `hubble-metrics` names it: `drop:sourceContext=pod|ip;labelsContext=source_namespace`. */
export interface MetricConfig {
  readonly name: string;
  /** By name in lower case, since upstream does not tell `sourceContext` from `sourcecontext`; an option that is only named has no values. */
  readonly options: ReadonlyMap<string, readonly string[]>;
  /** Only flows that match one of these are counted; all when empty. */
  readonly includeFilters: readonly FlowFilter[];
  readonly excludeFilters: readonly FlowFilter[];
}

/** Reads `hubble-metrics`: metrics separated by spaces. */
export function parseMetrics(text: string): MetricConfig[] {
  return text
    .split(/\s+/)
    .filter((item) => item !== "")
    .map((item) => {
      const colon = item.indexOf(":");
      const pairs = colon < 0 ? [] : item.slice(colon + 1).split(";");
      return {
        name: colon < 0 ? item : item.slice(0, colon),
        options: new Map(pairs.filter((pair) => pair !== "").map(parseOption)),
        includeFilters: [],
        excludeFilters: [],
      };
    });
}

function parseOption(pair: string): [string, string[]] {
  const equals = pair.indexOf("=");
  if (equals < 0) return [pair.toLowerCase(), []];
  const name = pair.slice(0, equals).toLowerCase();
  const separator = name === "labelscontext" ? "," : "|";
  const values = pair.slice(equals + 1).split(separator);
  return [name, values.filter((value) => value !== "")];
}
