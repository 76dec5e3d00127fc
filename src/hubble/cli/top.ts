import type { Groups } from "../aggregate/groups.ts";
import { countBy, groupTable, takeResponse } from "./aggregate.ts";
import { UsageError } from "./args.ts";
import type { CommandContext } from "./context.ts";
import { takeFlows } from "./flow-source.ts";
import { flowsRequest } from "./request.ts";

/** What `hubble top` counts by when nothing else is said. */
const DEFAULT_KEYS = ["source", "destination", "port", "verdict"];
const CLEAR_SCREEN = "\u001b[H\u001b[2J";

/** `hubble top`: who talks most, now. On a terminal the table is drawn anew; otherwise it is printed when the time is over. */
export async function top(context: CommandContext): Promise<number> {
  const { settings, args } = context;
  if (args.positionals.length > 0) throw new UsageError(`unknown argument "${args.positionals[0]}" for "hubble top"`);
  const keys = settings.list("by").length > 0 ? settings.list("by") : DEFAULT_KEYS;
  const rows = settings.number("rows") ?? 20;
  const seconds = settings.duration("duration");
  const signal = seconds === 0 ? context.signal : AbortSignal.any([context.signal, AbortSignal.timeout(seconds)]);
  const counted = countBy(keys);
  const startedAt = performance.now();
  const show = () => shown(keys, counted, rows, (performance.now() - startedAt) / 1000);
  const timer = context.terminal ? setInterval(() => context.out(CLEAR_SCREEN + show()), settings.duration("interval")) : undefined;
  try {
    const request = { ...flowsRequest(args, settings), follow: settings.text("input-file") === "", number: 0n };
    await takeFlows({ ...context, signal }, request, { print: (response) => takeResponse(response, counted, context.err) });
  } finally {
    clearInterval(timer);
  }
  context.out(context.terminal ? CLEAR_SCREEN + show() : show());
  return 0;
}

function shown(keys: readonly string[], counted: Groups, rows: number, seconds: number): string {
  const groups = counted.list();
  const total = groups.reduce((sum, { flows }) => sum + flows, 0) + counted.others();
  const dropped = groups.reduce((sum, group) => sum + group.dropped, 0);
  const more = groups.length > rows ? `${groups.length - rows} more rows; --rows shows more of them\n` : "";
  const rate = (total / Math.max(seconds, 0.001)).toFixed(1);
  return `${total} flows in ${seconds.toFixed(0)} s (${rate} a second), ${dropped} dropped\n\n${groupTable(keys, groups.slice(0, rows))}${more}`;
}
