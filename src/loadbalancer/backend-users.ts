import { isDeepStrictEqual } from "node:util";
import type { WritableTable } from "#statedb/table.ts";
import type { BackendRow } from "./tables.ts";
import { type Backend, type BackendState, type Frontend, formatL4Address } from "./types.ts";

interface Use {
  readonly service: string;
  readonly backend: Backend;
}

/** Keeps the table of backends: one row an address, as long as somebody has it. */
export interface BackendUsers {
  /** Replaces what one owner has. `service` is what the row calls it. */
  set(owner: string, service: string, frontends: readonly Frontend[]): void;
}

const RANK: Readonly<Record<BackendState, number>> = { active: 0, terminating: 1, quarantined: 2 };

export function createBackendUsers(table: WritableTable<BackendRow>): BackendUsers {
  const byOwner = new Map<string, ReadonlyMap<string, Backend>>();
  const byAddress = new Map<string, Map<string, Use>>();

  const write = (address: string) => {
    const uses = [...(byAddress.get(address)?.values() ?? [])];
    const [best] = uses.map(({ backend }) => backend).sort((a, b) => RANK[a.state] - RANK[b.state]);
    if (best === undefined) {
      byAddress.delete(address);
      table.delete(address);
      return;
    }
    const { state, nodeName, zone } = best;
    const row = { address: best.address, state, nodeName, zone, services: [...new Set(uses.map(({ service }) => service))].sort() };
    if (!isDeepStrictEqual(table.get(address), row)) table.set(row);
  };
  return {
    set(owner, service, frontends) {
      const all = frontends.flatMap(({ backends }) => backends);
      const next = new Map(all.map((backend) => [formatL4Address(backend.address), backend]));
      const before = byOwner.get(owner) ?? new Map<string, Backend>();
      if (next.size > 0) byOwner.set(owner, next);
      else byOwner.delete(owner);
      for (const address of before.keys()) {
        if (next.has(address)) continue;
        byAddress.get(address)?.delete(owner);
        write(address);
      }
      for (const [address, backend] of next) {
        if (isDeepStrictEqual(before.get(address), backend)) continue;
        const uses = byAddress.get(address) ?? new Map<string, Use>();
        byAddress.set(address, uses.set(owner, { service, backend }));
        write(address);
      }
    },
  };
}
