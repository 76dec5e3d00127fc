import { createHash } from "node:crypto";
import { parse } from "yaml";
import type { FlowFilter } from "#api/gen/flow/flow_pb.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { compileFilters } from "../filters/build.ts";
import { FilterError } from "../filters/text.ts";
import { compileMask } from "../observer/mask.ts";
import type { Observer } from "../observer/observer.ts";
import { FLOW_LOG_DEFAULTS, type FlowLog, type FlowLogConfig, parseFlowFilter, startFlowLog } from "./exporter.ts";
import { type FollowedFile, followFile } from "./follow-file.ts";

/** Upstream looks at the mounted ConfigMap that often. */
const RELOAD_MS = 5_000;

/**
 * Reads the file of `hubble-flowlogs-config-path` (upstream's ConfigMap `cilium-flowlog-config`): `flowLogs: [{name, filePath, fieldMask,
 * includeFilters, excludeFilters, fileMaxSizeMb, fileMaxBackups, fileCompress, end}]`. Throws FilterError naming the flow log and the field.
 */
export function parseFlowLogs(text: string): FlowLogConfig[] {
  const document: unknown = parse(text);
  const logs = isRecord(document) ? (document.flowLogs ?? []) : [];
  if (!Array.isArray(logs)) throw new FilterError("flowLogs", "must be a list of flow logs");
  const configs = logs.map(parseFlowLog);
  for (const { fieldMask, includeFilters, excludeFilters } of configs) {
    compileMask(fieldMask);
    compileFilters(includeFilters, excludeFilters);
  }
  const unique = (field: "name" | "filePath") => {
    const values = configs.map((config) => config[field]);
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined) throw new FilterError(`flowLogs.${field}`, `"${twice}" is used twice`);
  };
  unique("name");
  unique("filePath");
  return configs;
}

function parseFlowLog(given: unknown, index: number): FlowLogConfig {
  const at = (field: string) => `flowLogs[${index}].${field}`;
  if (!isRecord(given)) throw new FilterError(`flowLogs[${index}]`, "must be an object with name and filePath");
  const text = (field: string): string => {
    const value = given[field];
    if (typeof value !== "string" || value === "") throw new FilterError(at(field), "is required");
    return value;
  };
  const number = (field: "fileMaxSizeMb" | "fileMaxBackups"): number => {
    const value = given[field] ?? FLOW_LOG_DEFAULTS[field];
    if (typeof value !== "number" || value < 0) throw new FilterError(at(field), `must be a number, found ${JSON.stringify(value)}`);
    return value === 0 ? FLOW_LOG_DEFAULTS[field] : value;
  };
  const list = (field: string): unknown[] => {
    const value = given[field] ?? [];
    if (!Array.isArray(value)) throw new FilterError(at(field), "must be a list");
    return value;
  };
  const end = given.end === undefined ? undefined : Date.parse(String(given.end));
  if (Number.isNaN(end)) throw new FilterError(at("end"), `"${String(given.end)}" is no time, e.g. 2026-10-09T23:59:59Z`);
  return {
    name: text("name"),
    filePath: text("filePath"),
    fileMaxSizeMb: number("fileMaxSizeMb"),
    fileMaxBackups: number("fileMaxBackups"),
    fileCompress: given.fileCompress === true,
    fieldMask: list("fieldMask").map(String),
    includeFilters: list("includeFilters").map((filter) => parseFlowFilter(at("includeFilters"), filter)),
    excludeFilters: list("excludeFilters").map((filter) => parseFlowFilter(at("excludeFilters"), filter)),
    end,
  };
}

// Filters hold 64-bit numbers, which JSON does not know.
function settingsOf(config: FlowLogConfig): string {
  return JSON.stringify(config, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The filters of a flag: JSON objects one after the other, as upstream reads them, or a JSON list. Throws FilterError naming the flag. */
export function parseFilterList(flag: string, text: string): FlowFilter[] {
  if (text.trim() === "") return [];
  try {
    // Objects in a row are a list that lacks its commas; "}{" inside a string would be no filter anybody writes.
    const json: unknown = JSON.parse(text.trim().startsWith("[") ? text : `[${text.trim().replaceAll(/\}[\s,]*\{/g, "},{")}]`);
    return (json as unknown[]).map((filter) => parseFlowFilter(flag, filter));
  } catch (thrown) {
    throw thrown instanceof FilterError ? thrown : new FilterError(flag, errorMessage(thrown));
  }
}

export interface FlowLogsStatus {
  /** Those that run, by name; inactive: past its `end`. */
  readonly logs: readonly { readonly name: string; readonly active: boolean }[];
  /** Flow logs started, restarted with other settings, and ended because of the file. */
  readonly reconfigurations: { readonly add: number; readonly update: number; readonly remove: number };
  /** Of the text that was applied last, and when: seconds since 1970. Both 0 before the first. */
  readonly configHash: number;
  readonly appliedAt: number;
}

export interface FlowLogs extends AsyncDisposable {
  /** Reads the file anew and starts, restarts and ends flow logs accordingly; one whose settings are the same goes on untouched. */
  reload(): Promise<void>;
  status(): FlowLogsStatus;
}

interface Running {
  readonly settings: string;
  readonly end: number | undefined;
  readonly flowLog: FlowLog;
}

/** Flow logs by a file that may change at any time. A file that cannot be read or understood is logged and changes nothing. */
export async function startFlowLogs(observer: Observer, log: Logger, path: string): Promise<FlowLogs> {
  const running = new Map<string, Running>();
  const reconfigurations = { add: 0, update: 0, remove: 0 };
  const applied = { configHash: 0, appliedAt: 0 };
  const stop = async (name: string) => {
    const found = running.get(name);
    running.delete(name);
    await found?.flowLog[Symbol.asyncDispose]();
  };
  const follow = async (text: string) => {
    const configs = parseFlowLogs(text);
    const wanted = new Map(configs.map((config) => [config.name, settingsOf(config)]));
    const changed = new Set([...running].filter(([name, { settings }]) => wanted.get(name) !== settings).map(([name]) => name));
    for (const name of changed) {
      if (!wanted.has(name)) reconfigurations.remove++;
      await stop(name);
    }
    for (const config of configs) {
      if (running.has(config.name)) continue;
      reconfigurations[changed.has(config.name) ? "update" : "add"]++;
      running.set(config.name, { settings: settingsOf(config), end: config.end, flowLog: startFlowLog(observer, log, config) });
    }
    Object.assign(applied, { configHash: hashOf(text), appliedAt: Date.now() / 1000 });
  };
  const onError = (error: string) => log.error("flow logs cannot be configured, the running ones go on", { file: path, error });
  const file: FollowedFile = await followFile(path, RELOAD_MS, { follow, onError });
  return {
    reload: file.reload,
    status: () => ({ logs: [...running].sort().map(activity), reconfigurations, ...applied }),
    async [Symbol.asyncDispose]() {
      await file[Symbol.asyncDispose]();
      for (const name of [...running.keys()]) await stop(name);
    },
  };
}

function activity([name, { end }]: readonly [string, Running]): FlowLogsStatus["logs"][number] {
  return { name, active: end === undefined || Date.now() < end };
}

// 48 bits: what a number holds exactly.
function hashOf(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, 6);
}
