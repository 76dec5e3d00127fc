import { isDeepStrictEqual } from "node:util";
import type { WritableTable } from "#statedb/table.ts";
import type { BackendRow } from "./tables.ts";
import { type Backend, type BackendState, type Frontend, formatL4Address } from "./types.ts";

/** Keeps the table of backends: one row an address, as long as somebody has it. */
export interface BackendUsers {
  /** Replaces what one owner has. */
  set(owner: string, frontends: readonly Frontend[]): void;
}

/** The best state comes first. */
const STATES: readonly BackendState[] = ["active", "terminating", "quarantined"];

/** Thousands may have one address: who they are is not kept, only how many see it in which state. */
type Counts = Record<BackendState, number>;

export function createBackendUsers(table: WritableTable<BackendRow>): BackendUsers {
  const byOwner = new Map<string, ReadonlyMap<string, Backend>>();
  const byAddress = new Map<string, Counts>();

  const count = (address: string, { state }: Backend, change: 1 | -1) => {
    const counts = byAddress.get(address) ?? { active: 0, terminating: 0, quarantined: 0 };
    counts[state] += change;
    byAddress.set(address, counts);
  };
  const write = (address: string, { address: parts, nodeName, zone }: Backend) => {
    const counts = byAddress.get(address);
    const state = STATES.find((one) => (counts?.[one] ?? 0) > 0);
    if (counts === undefined || state === undefined) {
      byAddress.delete(address);
      table.delete(address);
      return;
    }
    const row = { address: parts, state, nodeName, zone, users: counts.active + counts.terminating + counts.quarantined };
    const old = table.get(address);
    if (old?.state !== state || old.nodeName !== nodeName || old.zone !== zone || old.users !== row.users) table.set(row);
  };
  return {
    set(owner, frontends) {
      const all = frontends.flatMap(({ backends }) => backends);
      const next = new Map(all.map((backend) => [formatL4Address(backend.address), backend]));
      const before = byOwner.get(owner) ?? new Map<string, Backend>();
      if (next.size > 0) byOwner.set(owner, next);
      else byOwner.delete(owner);
      for (const [address, backend] of before) {
        if (next.has(address)) continue;
        count(address, backend, -1);
        write(address, backend);
      }
      for (const [address, backend] of next) {
        const old = before.get(address);
        if (isDeepStrictEqual(old, backend)) continue;
        if (old) count(address, old, -1);
        count(address, backend, 1);
        write(address, backend);
      }
    },
  };
}
