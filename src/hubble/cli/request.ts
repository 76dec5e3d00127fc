import { create, fromJson, toJson } from "@bufbuild/protobuf";
import { type FlowFilter, FlowFilterSchema } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsRequest, GetFlowsRequestSchema } from "#api/gen/observer/observer_pb.ts";
import { type ParsedArgs, UsageError } from "./args.ts";
import { FilterBuilder } from "./filter-builder.ts";
import type { Settings } from "./settings.ts";
import { parseTime } from "./time.ts";

/** How many flows are asked for when nothing else is said. */
export const DEFAULT_LAST = 20n;
const EVERYTHING = 0xffff_ffff_ffff_ffffn;

/** How many, of what time: the part of a request that flows, agent events and debug events share. Throws UsageError. */
export function selectorsOf(
  settings: Settings,
): Pick<GetFlowsRequest, "number" | "first" | "follow"> & Pick<GetFlowsRequest, "since" | "until"> {
  const first = settings.number("first") ?? 0;
  const last = settings.number("last") ?? 0;
  const all = settings.bool("all");
  const follow = settings.bool("follow");
  refuse(first > 0 && last > 0, "cannot set both --first and --last");
  refuse(first > 0 && all, "cannot set both --first and --all");
  refuse(first > 0 && follow, "cannot set both --first and --follow");
  refuse(last > 0 && all, "cannot set both --last and --all");
  const time = (flag: string) => (settings.text(flag) === "" ? undefined : parseTime(flag, settings.text(flag)));
  const [since, until] = [time("since"), time("until")];
  const nothingAsked = first === 0 && last === 0 && !follow && since === undefined && until === undefined;
  const number = all ? EVERYTHING : BigInt(first || last) || (nothingAsked ? DEFAULT_LAST : 0n);
  return { number, first: first > 0, follow, since, until };
}

function refuse(wrong: boolean, message: string): void {
  if (wrong) throw new UsageError(message);
}

/** The request of `hubble observe`. Throws UsageError. */
export function flowsRequest(args: ParsedArgs, settings: Settings): GetFlowsRequest {
  const whitelist = new FilterBuilder();
  const blacklist = new FilterBuilder();
  for (const { spec, value, not } of args.flags) {
    if (!FilterBuilder.knows(spec.name)) {
      refuse(not, `--not cannot be used with --${spec.name}: it is no filter`);
      continue;
    }
    for (const item of splitsAtCommas(spec.name) ? value.split(",") : [value]) (not ? blacklist : whitelist).add(spec.name, item);
  }
  const paths = [...settings.list("field-mask")];
  return create(GetFlowsRequestSchema, {
    ...selectorsOf(settings),
    whitelist: [...rawFilters("allowlist", args), ...whitelist.build()],
    blacklist: [...rawFilters("denylist", args), ...blacklist.build()],
    ...(paths.length === 0 ? {} : { fieldMask: { paths } }),
  });
}

/** Lists of plain words may be written with commas, as upstream's. */
function splitsAtCommas(flag: string): boolean {
  return ["verdict", "protocol", "type", "drop-reason-desc", "http-status", "http-method", "uuid", "node-name"].includes(flag);
}

function rawFilters(flag: string, args: ParsedArgs): FlowFilter[] {
  const texts = args.flags.filter(({ spec }) => spec.name === flag).map(({ value }) => value);
  return texts.flatMap((text) => text.split("\n").filter((line) => line.trim() !== "")).map((line) => rawFilter(flag, line));
}

function rawFilter(flag: string, text: string): FlowFilter {
  try {
    return fromJson(FlowFilterSchema, JSON.parse(text));
  } catch (thrown) {
    throw new UsageError(`invalid --${flag} value: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** The filters of a request as `--print-raw-filters` shows them: YAML-like lines of JSON that `--allowlist` and `--denylist` take. */
export function formatRawFilters({ whitelist, blacklist }: GetFlowsRequest): string {
  const block = (name: string, filters: readonly FlowFilter[]) =>
    filters.length === 0 ? "" : `${name}:\n${filters.map((filter) => `    - '${filterJson(filter)}'\n`).join("")}`;
  return block("allowlist", whitelist) + block("denylist", blacklist);
}

function filterJson(filter: FlowFilter): string {
  return JSON.stringify(toJson(FlowFilterSchema, filter, { useProtoFieldName: true }));
}
