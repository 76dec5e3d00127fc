import { parseAddress } from "#types/addr.ts";
import { isPort, parseL4Protocol } from "./service.ts";
import { type Backend, type BackendState, isSpecial, type L4Protocol, l4Address } from "./types.ts";

interface Conditions {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
}

/** What we read of an EndpointSlice. */
export interface SliceInput {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly addressType?: string;
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[];
        readonly conditions?: Conditions;
        readonly nodeName?: string;
        readonly zone?: string;
        readonly hints?: {
          readonly forZones?: readonly { readonly name: string }[];
          readonly forNodes?: readonly { readonly name: string }[];
        };
      }[]
    | null;
  readonly ports?: readonly { readonly name?: string | null; readonly port?: number | null; readonly protocol?: string | null }[] | null;
}

/** The label that says whose slice it is. */
export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

export type Family = "IPv4" | "IPv6";

/** All backends that slices have, by port and family. */
export interface BackendSet {
  /** The backends of one port; target ports are already resolved in slices. */
  of(portName: string, protocol: L4Protocol, family: Family): readonly Backend[];
  readonly problems: readonly string[];
}

type EndpointInput = NonNullable<SliceInput["endpoints"]>[number];

/**
 * Reads a service's slices. An address that stands in two of them counts once, in its best state. What is no address is left out
 * and told; the others are not affected.
 */
export function readSlices(slices: readonly SliceInput[]): BackendSet {
  const ports = new Map<string, Map<string, Backend>>();
  const problems: string[] = [];
  for (const slice of slices) {
    if (slice.addressType !== "IPv4" && slice.addressType !== "IPv6") continue;
    for (const { name, port, protocol } of portsOf(slice, problems)) {
      const key = portKey(name, protocol, slice.addressType);
      const found = ports.get(key) ?? new Map<string, Backend>();
      ports.set(key, found);
      for (const endpoint of slice.endpoints ?? []) addEndpoint(found, slice, endpoint, { port, protocol }, problems);
    }
  }
  const lists = new Map([...ports].map(([key, found]) => [key, [...found.values()]]));
  return { of: (name, protocol, family) => lists.get(portKey(name, protocol, family)) ?? [], problems };
}

function portsOf(slice: SliceInput, problems: string[]): { name: string; port: number; protocol: L4Protocol }[] {
  return (slice.ports ?? []).flatMap(({ name, port, protocol: text }) => {
    // Without a number it stands for all ports, which is for services that are not balanced.
    if (port === null || port === undefined) return [];
    const protocol = parseL4Protocol(text ?? undefined);
    if (protocol !== undefined && isPort(port)) return [{ name: name ?? "", port, protocol }];
    problems.push(`EndpointSlice ${slice.metadata.name}: port ${port}/${text ?? "TCP"} cannot be used`);
    return [];
  });
}

function portKey(name: string, protocol: L4Protocol, family: Family): string {
  return `${name} ${protocol} ${family}`;
}

function addEndpoint(
  found: Map<string, Backend>,
  slice: SliceInput,
  { addresses, conditions, nodeName, zone, hints }: EndpointInput,
  { port, protocol }: { readonly port: number; readonly protocol: L4Protocol },
  problems: string[],
): void {
  const state = stateOf(conditions ?? {});
  const [zones, nodes] = [(hints?.forZones ?? []).map(({ name }) => name), (hints?.forNodes ?? []).map(({ name }) => name)];
  const wanted = zones.length + nodes.length > 0 ? { zones, nodes } : undefined;
  for (const text of addresses ?? []) {
    const ip = usableAddress(text, slice.addressType);
    if (ip === undefined) {
      problems.push(`EndpointSlice ${slice.metadata.name}: "${text}" is no ${slice.addressType} address of a backend`);
      continue;
    }
    const key = `${ip} ${port}`;
    const before = found.get(key);
    if (before === undefined || RANK[state] < RANK[before.state])
      found.set(key, { address: l4Address(ip, port, protocol), state, nodeName, zone, hints: wanted });
  }
}

function usableAddress(text: string, family: string | undefined): string | undefined {
  const ip = typeof text === "string" ? parseAddress(text) : undefined;
  return ip === undefined || ip.includes(":") !== (family === "IPv6") || isSpecial(ip) ? undefined : ip;
}

const RANK: Readonly<Record<BackendState, number>> = { active: 0, terminating: 1, "terminating-not-serving": 2, quarantined: 3 };

/** `ready` absent means ready; a terminating endpoint finishes its connections until its slice forgets it (KEP-1669). */
function stateOf({ ready, serving, terminating }: Conditions): BackendState {
  // Said of ending pods only where the service publishes what is not ready.
  if (terminating && ready === true) return "active";
  if (terminating) return (serving ?? ready ?? true) ? "terminating" : "terminating-not-serving";
  return (ready ?? true) ? "active" : "quarantined";
}
