import type { LbMaglevPiece } from "#datapath/gen/structs.ts";
import type { BpfMap, MapOfMaps } from "#ebpf/bpf.ts";
import { createMaglev } from "#loadbalancer/maglev.ts";
import type { Backend } from "#loadbalancer/types.ts";
import type { Expedite } from "../expedite.ts";

/** The services' Maglev tables in the kernel. */
export interface MaglevTables {
  /** Makes each service's table. */
  write(tables: readonly MaglevInput[]): void;
  /** Does nothing when the service has none that was written. */
  remove(serviceId: number): void;
  /** Removes the tables that were not written. */
  prune(): void;
}

interface MaglevInput {
  readonly serviceId: number;
  readonly backends: readonly Backend[];
  readonly idOf: (backend: Backend) => number;
}

type TableMap = MapOfMaps<number, number, LbMaglevPiece>;

const PIECE = 1024;

/** Throws RangeError when `size` is none that Maglev can have. */
export function createMaglevTables(deps: { readonly map: TableMap; readonly expedite: Expedite }, size: number): MaglevTables {
  const { map, expedite } = deps;
  const maglev = createMaglev(size);
  /** What each table was made of; absent: not known, or there is none. */
  const made = new Map<number, string>();

  const write = ({ serviceId, backends, idOf }: MaglevInput) => {
    const content = backends.map((backend) => `${backend.address.text}=${idOf(backend)}`).join();
    if (made.get(serviceId) === content && map.innerId(serviceId) !== undefined) return;
    const known = made.has(serviceId);
    const ids = backends.map(idOf);
    const table = maglev.table(backends).map((position) => ids[position] ?? 0);
    // Written anew where it is: readers find a place's old or new backend, and nobody waits for a grace period.
    const inner: BpfMap<number, LbMaglevPiece> = (known ? map.get(serviceId) : undefined) ?? map.createInner(Math.ceil(size / PIECE));
    try {
      for (const [number, piece] of pieces(table).entries()) inner.set(number, piece);
      if (!known || map.innerId(serviceId) === undefined) expedite(() => map.set(serviceId, inner));
    } finally {
      inner.close();
    }
    made.set(serviceId, content);
  };
  const remove = (serviceId: number) => {
    if (!made.has(serviceId)) return;
    expedite(() => map.delete(serviceId));
    made.delete(serviceId);
  };
  return {
    write(tables) {
      if (tables.some(({ serviceId }) => !made.has(serviceId))) expedite(() => tables.forEach(write));
      else tables.forEach(write);
    },
    remove,
    prune() {
      for (const serviceId of [...map.keys()]) if (!made.has(serviceId)) expedite(() => map.delete(serviceId));
    },
  };
}

function pieces(table: Uint32Array): LbMaglevPiece[] {
  const bytes = Buffer.alloc(Math.ceil(table.length / PIECE) * PIECE * 4);
  table.forEach((id, place) => void bytes.writeUInt32LE(id, 4 * place));
  return Array.from({ length: bytes.length / (PIECE * 4) }, (_, i) => ({ bytes: bytes.subarray(i * PIECE * 4, (i + 1) * PIECE * 4) }));
}
