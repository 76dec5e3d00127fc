import { noColor, terminalColor } from "../printer/color.ts";
import { createPrinter, type OutputFormat, type Printer } from "../printer/printer.ts";
import { timeFormats } from "../printer/time.ts";
import { createAggregatePrinter } from "./aggregate.ts";
import { UsageError } from "./args.ts";
import { explains } from "./connect.ts";
import type { CommandContext } from "./context.ts";
import { type FlowTaker, takeFlows } from "./flow-source.ts";
import { tellNobody } from "./nobody.ts";
import { DEFAULT_LAST, flowsRequest, formatRawFilters } from "./request.ts";
import type { Settings } from "./settings.ts";

const FORMATS: readonly string[] = ["compact", "dict", "json", "jsonpb", "table"];

/** `hubble observe [flows]`. */
export async function observe(context: CommandContext): Promise<number> {
  const { settings, args } = context;
  if (args.positionals.length > 0) throw new UsageError(`unknown argument "${args.positionals[0]}" for "hubble observe"`);
  const format = outputFormat(settings);
  if (format === "table" && settings.bool("follow")) throw new UsageError("table output format is not compatible with follow mode");
  const keys = settings.list("aggregate-by");
  const request = flowsRequest(args, settings, keys.length > 0 ? [] : fieldMask(context, format));
  if (settings.bool("print-raw-filters")) {
    context.out(formatRawFilters(request));
    return 0;
  }
  if (context.terminal && request.number === DEFAULT_LAST && !settings.has("last")) {
    context.err("showing the last 20 flows of each node; --follow shows them as they happen, --last N more of them\n");
  }
  const { out, err } = context;
  const printer =
    keys.length === 0 ? flowPrinter(context, format) : createAggregatePrinter({ keys, json: format.startsWith("json"), out, err });
  let found = false;
  const taker: FlowTaker = {
    print(response) {
      found ||= response.responseTypes.case === "flow";
      printer.print(response);
    },
  };
  const asked = keys.length > 0 && request.number === DEFAULT_LAST && !settings.has("last") ? { ...request, number: 0n } : request;
  await takeFlows(context, asked, taker);
  printer.end();
  if (!found && context.errTerminal && !request.follow && settings.text("input-file") === "") await tellNobody(context);
  return 0;
}

/** What is printed of a flow. */
const PRINTED = [
  ...["time", "verdict", "ethernet", "IP", "l4", "source.identity", "source.namespace", "source.pod_name", "source_names"],
  ...["destination.identity", "destination.namespace", "destination.pod_name", "destination_names", "Type", "node_name", "l7"],
  ...["event_type", "source_service", "destination_service", "is_reply", "Summary", "ip_trace_id", "auth_type", "traffic_direction"],
  ...["policy_match_type", "debug_capture_point", "sock_xlate_point"],
  ...["ingress_allowed_by", "ingress_denied_by", "egress_allowed_by", "egress_denied_by"],
];

/** The fields to ask for: those of `--field-mask`, else those that are printed; none are all. Throws UsageError. */
function fieldMask(context: CommandContext, format: OutputFormat): readonly string[] {
  const { settings } = context;
  const wanted = settings.list("field-mask");
  if (format === "json" || format === "jsonpb") return wanted;
  if (wanted.length > 0) throw new UsageError(`${settings.text("output")} output format is not compatible with custom field mask`);
  if (!settings.bool("use-default-field-masks")) return [];
  return explains(context) ? [...PRINTED, "extensions"] : PRINTED;
}

/** The format of `--output`. Throws UsageError. */
export function outputFormat(settings: Settings): OutputFormat {
  const name = settings.text("output").toLowerCase();
  const known: Readonly<Record<string, OutputFormat>> = { tab: "table", JSON: "json" };
  if (FORMATS.includes(name)) return name as OutputFormat;
  if (known[name] !== undefined) return known[name];
  throw new UsageError(`invalid output format: ${settings.text("output")}: expected ${FORMATS.join(", ")}`);
}

function flowPrinter(context: CommandContext, format: OutputFormat): Printer {
  const { settings } = context;
  const timeFormat = timeFormatOf(settings);
  const silent = settings.bool("silent-errors");
  return createPrinter({
    format,
    color: wantsColor(context) ? terminalColor : noColor,
    timeFormat,
    numeric: settings.bool("numeric") || !settings.bool("ip-translation"),
    nodeName: settings.bool("print-node-name"),
    policyNames: settings.bool("print-policy-names"),
    explain: explains(context),
    legacyJson: format === "json" && (context.env.HUBBLE_COMPAT ?? "").toLowerCase().split(",").includes("legacy-json-output"),
    debug: settings.bool("debug"),
    out: context.out,
    err: silent ? () => undefined : context.err,
  });
}

/** The name of `--time-format`, in whatever case it was written. Throws UsageError. */
export function timeFormatOf(settings: Settings): string {
  const wanted = settings.text("time-format");
  const found = timeFormats.find((name) => name.toLowerCase() === wanted.toLowerCase());
  if (found === undefined) throw new UsageError(`invalid time format: ${wanted}: expected one of ${timeFormats.join(", ")}`);
  return found;
}

/** Whether to colour: `--color`, and for `auto` a terminal without NO_COLOR. Throws UsageError. */
export function wantsColor({ settings, terminal, env }: Pick<CommandContext, "settings" | "terminal" | "env">): boolean {
  switch (settings.text("color")) {
    case "always":
      return true;
    case "never":
      return false;
    case "auto":
      return terminal && !env.NO_COLOR;
    default:
      throw new UsageError(`invalid color option: ${settings.text("color")}: expected auto, always or never`);
  }
}
