import type { Flow } from "#api/gen/flow/flow_pb.ts";
import type { L7Event } from "#monitor/events.ts";
import type { Names } from "../names.ts";
import type { Entry } from "../observer/observer.ts";
import type { Ring } from "../ring.ts";

/** Both clocks are of this machine; one of them is read in milliseconds. */
const SLACK_NS = 10_000_000n;
const LOOKED_AT = 512;

/**
 * The proxy's word of an answer takes another way than the kernel's records, so the connection that the answer leads to may be here first.
 * Gives such flows, if they are among the newest of the ring, the names that the agent knows by now.
 */
export function nameLateFlows(ring: Ring<Entry>, names: Names, { time, access }: L7Event): void {
  if (access.type !== "dns-access" || access.kind !== "response" || access.dns.ips.length === 0) return;
  const { endpointId } = access;
  const ips = new Set<string | undefined>(access.dns.ips);
  for (let at = ring.written - 1; at >= ring.written - LOOKED_AT; at--) {
    const entry = ring.at(at);
    if (entry === undefined || entry.time < time - SLACK_NS) return;
    if (entry.kind === "flow" && entry.flow.l7 === undefined) nameFlow(entry.flow, endpointId, ips, names);
  }
}

function nameFlow(flow: Flow, endpointId: number, ips: ReadonlySet<string | undefined>, names: Names): void {
  const { source, destination, IP } = flow;
  if (source?.ID === endpointId && ips.has(IP?.destination) && flow.destinationNames.length === 0)
    flow.destinationNames = [...names.dnsNames(endpointId, IP?.destination ?? "")];
  if (destination?.ID === endpointId && ips.has(IP?.source) && flow.sourceNames.length === 0)
    flow.sourceNames = [...names.dnsNames(endpointId, IP?.source ?? "")];
}
