import { type Flow, Verdict } from "#api/gen/flow/flow_pb.ts";
import { nanosecondsOf } from "../parser/messages.ts";
import { KEYS } from "./keys.ts";

/** Flows of equal keys. Times are nanoseconds since 1970. */
export interface Group {
  readonly values: readonly string[];
  readonly flows: number;
  /** Those of them that were dropped. */
  readonly dropped: number;
  readonly firstSeen: bigint;
  readonly lastSeen: bigint;
}

type Growing = { -readonly [Field in keyof Group]: Group[Field] };

/** Counts flows by keys. Memory is bounded: what is beyond `maxGroups` is counted in `others`. */
export interface Groups {
  add(flow: Flow): void;
  /** The groups, the largest first. */
  list(): readonly Group[];
  /** Flows of groups there was no room for. */
  others(): number;
}

export const MAX_GROUPS = 100_000;

/** A counter by these keys. Throws RangeError for a key that does not exist. */
export function createGroups(keys: readonly string[], maxGroups = MAX_GROUPS): Groups {
  const readers = keys.map((key) => {
    const read = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
    if (read === undefined) throw new RangeError(`flows cannot be counted by "${key}"; they can by ${Object.keys(KEYS).join(", ")}`);
    return read;
  });
  const groups = new Map<string, Growing>();
  let others = 0;
  return {
    add(flow) {
      const values = readers.map((read) => read(flow));
      const id = values.join("\0");
      const time = nanosecondsOf(flow.time);
      let group = groups.get(id);
      if (group === undefined) {
        if (groups.size >= maxGroups) {
          others++;
          return;
        }
        group = { values, flows: 0, dropped: 0, firstSeen: time, lastSeen: time };
        groups.set(id, group);
      }
      group.flows++;
      if (flow.verdict === Verdict.DROPPED) group.dropped++;
      if (time < group.firstSeen) group.firstSeen = time;
      if (time > group.lastSeen) group.lastSeen = time;
    },
    list: () => [...groups.values()].sort((a, b) => b.flows - a.flows || compare(a.values, b.values)),
    others: () => others,
  };
}

function compare(a: readonly string[], b: readonly string[]): number {
  const [left, right] = [a.join("\0"), b.join("\0")];
  return left < right ? -1 : Number(left > right);
}
