import type { GetFlowsResponse } from "#api/gen/observer/observer_pb.ts";
import { createGroups, type Group, type Groups } from "../aggregate/groups.ts";
import { escapeTerminal } from "../printer/escape.ts";
import { nodeStatusText } from "../printer/node-status.ts";
import type { Printer } from "../printer/printer.ts";
import { alignRows } from "../printer/tabular.ts";
import { UsageError } from "./args.ts";

export interface AggregateOptions {
  readonly keys: readonly string[];
  readonly json: boolean;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/** Prints counts of flows instead of flows (`--aggregate-by`). Throws UsageError for a key that does not exist. */
export function createAggregatePrinter({ keys, json, out, err }: AggregateOptions): Printer {
  const counted = countBy(keys);
  return {
    print(response) {
      takeResponse(response, counted, err);
    },
    end() {
      const groups = counted.list();
      out(json ? groups.map((group) => `${JSON.stringify(groupJson(keys, group))}\n`).join("") : groupTable(keys, groups));
      if (counted.others() > 0) err(`${counted.others()} flows of further groups are not shown: ask for fewer keys or filter\n`);
    },
  };
}

/** A counter by these keys. Throws UsageError. */
export function countBy(keys: readonly string[]): Groups {
  try {
    return createGroups(keys);
  } catch (thrown) {
    throw new UsageError(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** Counts a flow; what is none is told on `err`, so that nobody takes the counts for whole when they are not. */
export function takeResponse({ responseTypes }: GetFlowsResponse, counted: Pick<Groups, "add">, err: (text: string) => void): void {
  if (responseTypes.case === "flow") counted.add(responseTypes.value);
  else if (responseTypes.case === "lostEvents") err(`${responseTypes.value.numEventsLost} events were lost, the counts are without them\n`);
  else if (responseTypes.case === "nodeStatus") {
    const text = nodeStatusText(responseTypes.value, false);
    if (text !== undefined) err(`${text}\n`);
  }
}

/** The groups as an aligned table. */
export function groupTable(keys: readonly string[], groups: readonly Group[]): string {
  const header = [...keys.map((key) => key.toUpperCase()), "FLOWS", "DROPPED", "LAST SEEN"];
  const rows = groups.map(({ values, flows, dropped, lastSeen }) => [
    ...values.map((value) => (value === "" ? "-" : escapeTerminal(value))),
    String(flows),
    String(dropped),
    timeText(lastSeen).slice(11, 19),
  ]);
  return `${alignRows([header, ...rows])}\n`;
}

function groupJson(keys: readonly string[], { values, flows, dropped, firstSeen, lastSeen }: Group): unknown {
  const named = Object.fromEntries(keys.map((key, index) => [key.replaceAll("-", "_"), values[index] ?? ""]));
  return { ...named, flows, dropped, first_seen: timeText(firstSeen), last_seen: timeText(lastSeen) };
}

function timeText(nanoseconds: bigint): string {
  return new Date(Number(nanoseconds / 1_000_000n)).toISOString();
}
