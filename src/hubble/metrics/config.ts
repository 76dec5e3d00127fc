/** One metric as the setting `hubble-metrics` names it: `drop:sourceContext=pod|ip;labelsContext=source_namespace`. */
export interface MetricConfig {
  readonly name: string;
  readonly options: ReadonlyMap<string, string>;
}

/** Reads `hubble-metrics`: metrics separated by spaces. */
export function parseMetrics(text: string): MetricConfig[] {
  return text
    .split(/\s+/)
    .filter((item) => item !== "")
    .map((item) => {
      const colon = item.indexOf(":");
      const pairs = colon < 0 ? [] : item.slice(colon + 1).split(";");
      const options = pairs.filter((pair) => pair !== "").map((pair): [string, string] => splitPair(pair));
      return { name: colon < 0 ? item : item.slice(0, colon), options: new Map(options) };
    });
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf("=");
  return equals < 0 ? [pair, ""] : [pair.slice(0, equals), pair.slice(equals + 1)];
}
