import { create, fromJson } from "@bufbuild/protobuf";
import { type FlowFilter, FlowFilterSchema } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsRequest, GetFlowsRequestSchema } from "#api/gen/observer/observer_pb.ts";
import { jsonLine } from "../printer/json-line.ts";
import { type FlagSpec, invalidArgument, type ParsedArgs, UsageError } from "./args.ts";
import { FilterBuilder } from "./filter-builder.ts";
import type { Settings } from "./settings.ts";
import { parseTime } from "./time.ts";

/** How many flows are asked for when nothing else is said. */
export const DEFAULT_LAST = 20n;
const EVERYTHING = 0xffff_ffff_ffff_ffffn;

/** How many, of what time. */
type Selectors = Pick<GetFlowsRequest, "number" | "first" | "follow" | "since" | "until">;

/** The part of a request that flows, agent events and debug events share; `standard` when nothing is asked for. Throws UsageError. */
export function selectorsOf(settings: Settings, standard: (follow: boolean) => bigint = () => DEFAULT_LAST): Selectors {
  const first = settings.count("first") ?? 0n;
  const last = settings.count("last") ?? 0n;
  const all = settings.bool("all");
  const follow = settings.bool("follow");
  refuse(first > 0 && last > 0, "cannot set both --first and --last");
  refuse(first > 0 && all, "cannot set both --first and --all");
  refuse(first > 0 && follow, "cannot set both --first and --follow");
  refuse(last > 0 && all, "cannot set both --last and --all");
  const time = (flag: string) => (settings.text(flag) === "" ? undefined : parseTime(flag, settings.text(flag)));
  const since = time("since");
  // What is followed has no end.
  const until = follow ? undefined : time("until");
  const nothingAsked = first === 0n && last === 0n && since === undefined && until === undefined;
  const number = all ? EVERYTHING : first || last || (nothingAsked ? standard(follow) : 0n);
  return { number, first: first > 0n, follow, since, until };
}

function refuse(wrong: boolean, message: string): void {
  if (wrong) throw new UsageError(message);
}

/** The request of `hubble observe`, for these fields of flows or for all. Throws UsageError. */
export function flowsRequest(args: ParsedArgs, settings: Settings, paths: readonly string[] = []): GetFlowsRequest {
  const whitelist = new FilterBuilder();
  const blacklist = new FilterBuilder();
  for (const { spec, value, not } of args.flags) {
    if (!FilterBuilder.knows(spec.name)) {
      refuse(not, `--not cannot be used with --${spec.name}: it is no filter`);
      continue;
    }
    for (const item of splitsAtCommas(spec.name) ? value.split(",") : [value]) addFilter(not ? blacklist : whitelist, spec, value, item);
  }
  // A file is read to its end, and whoever follows wants what is new.
  const selectors = selectorsOf(settings, (follow) => (follow || settings.text("input-file") !== "" ? 0n : DEFAULT_LAST));
  return create(GetFlowsRequestSchema, {
    ...selectors,
    whitelist: [...whitelist.build(), ...rawFilters("allowlist", settings)],
    blacklist: [...blacklist.build(), ...rawFilters("denylist", settings)],
    ...(paths.length === 0 ? {} : { fieldMask: { paths: [...paths] } }),
  });
}

function addFilter(builder: FilterBuilder, spec: FlagSpec, value: string, item: string): void {
  try {
    builder.add(spec.name, item);
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    throw new UsageError(`${invalidArgument(spec, value)}: ${thrown.message}`);
  }
}

/** Lists of plain words may be written with commas, as upstream's. */
function splitsAtCommas(flag: string): boolean {
  return ["verdict", "protocol", "type", "drop-reason-desc", "http-status", "http-method", "uuid", "node-name"].includes(flag);
}

function rawFilters(flag: string, settings: Settings): FlowFilter[] {
  return settings.texts(flag).flatMap((text) => jsonTexts(text).map((one) => rawFilter(flag, one)));
}

/** JSON objects that stand one after the other. */
function jsonTexts(text: string): string[] {
  const texts: string[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g)) {
    depth += token === "{" ? 1 : token === "}" ? -1 : 0;
    if (token !== "}" || depth !== 0) continue;
    texts.push(text.slice(start, index + 1));
    start = index + 1;
  }
  return text.slice(start).trim() === "" ? texts : [...texts, text.slice(start)];
}

function rawFilter(flag: string, text: string): FlowFilter {
  try {
    return fromJson(FlowFilterSchema, JSON.parse(text));
  } catch (thrown) {
    throw new UsageError(
      `invalid --${flag} flag: failed to decode '${text}': ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    );
  }
}

/** The filters of a request as `--print-raw-filters` shows them: YAML that a config file may hold. */
export function formatRawFilters({ whitelist, blacklist }: GetFlowsRequest): string {
  const quoted = (filter: FlowFilter) => `'${jsonLine(FlowFilterSchema, filter).replaceAll("'", "''")}'`;
  const block = (name: string, filters: readonly FlowFilter[]) =>
    filters.length === 0 ? "" : `${name}:\n${filters.map((filter) => `    - ${quoted(filter)}\n`).join("")}`;
  return block("allowlist", whitelist) + block("denylist", blacklist) || "{}\n";
}
