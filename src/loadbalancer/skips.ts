import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import type { Frontend, L4Address } from "./types.ts";

/** What the kernel knows a pod of this node by. */
export interface PodPlace {
  readonly netnsCookie: bigint;
  /** The node's end of its veth. */
  readonly ifindex: number;
}

/** A pod that reaches an address although a CiliumLocalRedirectPolicy redirects it. */
export interface SkipRow extends PodPlace {
  /** `namespace/name`. */
  readonly pod: string;
  readonly address: L4Address;
}

export interface Skips {
  readonly table: Table<SkipRow>;
  /** Computes again what these frontends and pods have to do with; by their keys. */
  refresh(frontends: Iterable<string>, pods: Iterable<string>): void;
  /** See `WritableTable.expect`. */
  expect(source: string): () => void;
}

/** Who is left out of local redirects (`Frontend.skippedBy`), and where these pods are → the table. The one writer of it. */
export function createSkips(
  db: Database,
  deps: {
    readonly frontends: Table<Frontend>;
    /** Undefined: the pod is not on this node, or not yet. */
    readonly placeOf: (pod: string) => PodPlace | undefined;
  },
): Skips {
  const table = db.createTable<SkipRow>({
    name: "redirectskips",
    key: ({ pod, address }) => keyOf(pod, address.text),
    indexes: { pod: ({ pod }) => pod, address: ({ address }) => address.text },
    columns: {
      POD: ({ pod }) => pod,
      ADDRESS: ({ address }) => address.text,
      NETNS: ({ netnsCookie }) => netnsCookie.toString(),
      IFINDEX: ({ ifindex }) => ifindex,
    },
  });
  const refreshOne = (pod: string, text: string) => {
    const frontend = deps.frontends.get(text);
    const place = frontend?.skippedBy?.includes(pod) ? deps.placeOf(pod) : undefined;
    const old = table.get(keyOf(pod, text));
    if (frontend === undefined || place === undefined) table.delete(keyOf(pod, text));
    else if (old?.netnsCookie !== place.netnsCookie || old.ifindex !== place.ifindex)
      table.set({ pod, address: frontend.address, ...place });
  };
  return {
    table,
    expect: (source) => table.expect(source),
    refresh(frontends, pods) {
      db.write(() => {
        for (const text of frontends) {
          const now = deps.frontends.get(text)?.skippedBy ?? [];
          for (const pod of new Set([...now, ...table.by("address", text).map((row) => row.pod)])) refreshOne(pod, text);
        }
        for (const pod of pods) {
          const now = deps.frontends.by("skippedBy", pod).map(({ address }) => address.text);
          for (const text of new Set([...now, ...table.by("pod", pod).map(({ address }) => address.text)])) refreshOne(pod, text);
        }
      });
    },
  };
}

function keyOf(pod: string, address: string): string {
  return `${pod} ${address}`;
}
