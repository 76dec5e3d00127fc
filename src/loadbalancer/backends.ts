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
  const all: PortBackends[] = [];
  const problems: string[] = [];
  const find = (name: string, protocol: L4Protocol, family: Family) =>
    all.find((one) => one.name === name && one.protocol === protocol && one.family === family);
  for (const slice of slices) {
    if (slice.addressType !== "IPv4" && slice.addressType !== "IPv6") continue;
    for (const { name, port, protocol } of portsOf(slice, problems)) {
      const known = find(name, protocol, slice.addressType);
      const found = known ?? { name, protocol, family: slice.addressType, byAddress: new Map<string, Backend>() };
      if (known === undefined) all.push(found);
      for (const endpoint of slice.endpoints ?? []) addEndpoint(found.byAddress, slice, endpoint, { port, protocol }, problems);
    }
  }
  const lists = all.map(({ byAddress }) => [...byAddress.values()]);
  return {
    of(name, protocol, family) {
      const found = find(name, protocol, family);
      return (found && lists[all.indexOf(found)]) ?? [];
    },
    problems,
  };
}

/** A service has few ports: looking through them is quicker than a key for each. */
interface PortBackends {
  readonly name: string;
  readonly protocol: L4Protocol;
  readonly family: Family;
  readonly byAddress: Map<string, Backend>;
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

function addEndpoint(
  found: Map<string, Backend>,
  slice: SliceInput,
  { addresses, conditions, nodeName, zone, hints }: EndpointInput,
  { port, protocol }: { readonly port: number; readonly protocol: L4Protocol },
  problems: string[],
): void {
  const state = stateOf(conditions ?? {});
  const wanted = hints && hintsOf(hints);
  for (const text of addresses ?? []) {
    const ip = usableAddress(text, slice.addressType);
    if (ip === undefined) {
      problems.push(`EndpointSlice ${slice.metadata.name}: "${text}" is no ${slice.addressType} address of a backend`);
      continue;
    }
    const address = l4Address(ip, port, protocol);
    const before = found.get(address.text);
    if (before === undefined || RANK[state] < RANK[before.state])
      found.set(address.text, { address, state, nodeName, zone, hints: wanted });
  }
}

function hintsOf({ forZones, forNodes }: NonNullable<EndpointInput["hints"]>): Backend["hints"] {
  const [zones, nodes] = [forZones ?? [], forNodes ?? []].map((list) => list.map(({ name }) => name));
  return zones?.length || nodes?.length ? { zones: zones ?? [], nodes: nodes ?? [] } : undefined;
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
