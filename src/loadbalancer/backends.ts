import type { Backend, BackendState, L4Protocol } from "./types.ts";

/** What we read of an EndpointSlice. */
export interface SliceInput {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly addressType?: string;
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[];
        readonly conditions?: { readonly ready?: boolean | null; readonly serving?: boolean | null; readonly terminating?: boolean | null };
        readonly nodeName?: string;
        readonly zone?: string;
      }[]
    | null;
  readonly ports?: readonly { readonly name?: string | null; readonly port?: number | null; readonly protocol?: string | null }[] | null;
}

/** The label that says whose slice it is. */
export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/**
 * The backends of one port of a service in one address family, from all its slices; an address that stands in two slices counts
 * once, in its best state. Target ports are already resolved in slices.
 */
export function backendsOf(slices: readonly SliceInput[], portName: string, protocol: L4Protocol, family: "IPv4" | "IPv6"): Backend[] {
  const found = new Map<string, Backend>();
  for (const backend of slices
    .filter(({ addressType }) => addressType === family)
    .flatMap((slice) => backendsOfSlice(slice, portName, protocol))) {
    const key = `${backend.address.ip}:${backend.address.port}`;
    const before = found.get(key);
    if (!before || RANK[backend.state] < RANK[before.state]) found.set(key, backend);
  }
  return [...found.values()];
}

function backendsOfSlice(slice: SliceInput, portName: string, protocol: L4Protocol): Backend[] {
  const ports = (slice.ports ?? []).filter((port) => (port.name ?? "") === portName && (port.protocol ?? "TCP") === protocol);
  return ports.flatMap(({ port }) =>
    (slice.endpoints ?? []).flatMap(({ addresses, conditions, nodeName, zone }) => {
      const state = stateOf(conditions ?? {});
      return port ? addresses.map((ip) => ({ address: { ip, port, protocol }, state, nodeName, zone })) : [];
    }),
  );
}

const RANK: Readonly<Record<BackendState, number>> = { active: 0, terminating: 1, "not-ready": 2 };

/** `ready` absent means ready; a terminating endpoint that still serves finishes its connections (KEP-1669). */
function stateOf(conditions: {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
}): BackendState {
  if (conditions.terminating) return (conditions.serving ?? conditions.ready ?? true) ? "terminating" : "not-ready";
  return (conditions.ready ?? true) ? "active" : "not-ready";
}
