import type { WritableTable } from "#statedb/table.ts";
import type { BackendRow } from "./tables.ts";
import type { Backend, BackendState, Frontend } from "./types.ts";

/** Keeps the table of backends: one row an address, as long as somebody has it. */
export interface BackendUsers {
  /** Replaces what one owner had by what he has. */
  replace(before: readonly Frontend[], frontends: readonly Frontend[]): void;
}

/** The best state comes first. */
const STATES: readonly BackendState[] = ["active", "terminating", "terminating-not-serving", "quarantined"];

const NONE = new Map<string, Backend>();

/** Thousands may have one address: who they are is not kept, only how many see it in which state. */
type Counts = Record<BackendState, number>;

export function createBackendUsers(table: WritableTable<BackendRow>): BackendUsers {
  const byAddress = new Map<string, Counts>();

  const count = ({ address, state }: Backend, change: 1 | -1) => {
    const counts = byAddress.get(address.text) ?? { active: 0, terminating: 0, "terminating-not-serving": 0, quarantined: 0 };
    counts[state] += change;
    byAddress.set(address.text, counts);
  };
  const write = ({ address, nodeName, zone }: Backend) => {
    const counts = byAddress.get(address.text);
    const state = STATES.find((one) => (counts?.[one] ?? 0) > 0);
    if (counts === undefined || state === undefined) {
      byAddress.delete(address.text);
      table.delete(address.text);
      return;
    }
    const row = { address, state, nodeName, zone, users: STATES.reduce((sum, one) => sum + counts[one], 0) };
    const old = table.get(address.text);
    if (old?.state !== state || old.nodeName !== nodeName || old.zone !== zone || old.users !== row.users) table.set(row);
  };
  return {
    replace(before, frontends) {
      const [had, next] = [distinct(before), distinct(frontends)];
      const gone = had.length === 0 ? NONE : new Map(had.map((backend) => [backend.address.text, backend]));
      for (const backend of next) {
        const old = gone.get(backend.address.text);
        gone.delete(backend.address.text);
        if (old?.state === backend.state && old.nodeName === backend.nodeName && old.zone === backend.zone) continue;
        if (old) count(old, -1);
        count(backend, 1);
        write(backend);
      }
      for (const backend of gone.values()) {
        count(backend, -1);
        write(backend);
      }
    },
  };
}

/** Each address once, as the last frontend has it. Most frontends of an owner have the same list. */
function distinct(frontends: readonly Frontend[]): readonly Backend[] {
  const first = frontends[0]?.backends ?? [];
  if (frontends.every(({ backends }) => backends === first)) return first;
  const lists = new Set(frontends.map(({ backends }) => backends));
  return [...new Map([...lists].flatMap((backends) => backends.map((backend) => [backend.address.text, backend] as const))).values()];
}
