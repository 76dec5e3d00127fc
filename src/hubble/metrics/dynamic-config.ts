import { parse } from "yaml";
import { parseFlowFilter } from "../export/exporter.ts";
import { FilterError } from "../filters/text.ts";
import type { MetricConfig } from "./config.ts";

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the file of `hubble-dynamic-metrics-config-path` (upstream's ConfigMap `cilium-dynamic-metrics-config`): `metrics: [{name,
 * contextOptions: [{name, values}], includeFilters, excludeFilters}]`. Throws FilterError naming the metric and the field.
 */
export function parseDynamicMetrics(text: string): MetricConfig[] {
  const document: unknown = parse(text) ?? {};
  if (!isFields(document)) throw new FilterError("metrics", "the file must be an object with a list of metrics");
  const configs = list("metrics", document.metrics).map((given, index) => parseMetric(`metrics[${index}]`, given));
  const names = configs.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new FilterError("metrics", `"${twice}" is there twice`);
  return configs;
}

function parseMetric(at: string, given: unknown): MetricConfig {
  if (!isFields(given) || typeof given.name !== "string" || given.name === "") throw new FilterError(`${at}.name`, "is required");
  const filters = (field: "includeFilters" | "excludeFilters") =>
    list(`${at}.${field}`, given[field]).map((filter) => parseFlowFilter(`${at}.${field}`, filter));
  return {
    name: given.name,
    options: new Map(
      list(`${at}.contextOptions`, given.contextOptions).map((option, index) => parseOption(`${at}.contextOptions[${index}]`, option)),
    ),
    includeFilters: filters("includeFilters"),
    excludeFilters: filters("excludeFilters"),
  };
}

function parseOption(at: string, given: unknown): [string, string[]] {
  if (!isFields(given) || typeof given.name !== "string" || given.name === "") throw new FilterError(`${at}.name`, "is required");
  return [given.name.toLowerCase(), list(`${at}.values`, given.values).map(String)];
}

function list(at: string, value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new FilterError(at, "must be a list");
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
