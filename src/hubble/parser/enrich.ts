import type { Endpoint, Flow } from "#api/gen/flow/flow_pb.ts";
import { reservedIdentityName } from "#monitor/names.ts";
import type { EndpointNames, Names } from "../names.ts";
import { portsOf } from "./layer4.ts";
import { endpointMessage, serviceMessage } from "./messages.ts";

/** What an address is that nobody knows, a ClusterIP for instance. */
const WORLD = 2;

/** One end of a flow as the event knows it. 0 and "" stand for unknown. */
export interface FlowEnd {
  readonly ip: string;
  readonly identity: number;
  /** The endpoint of this node it is, when the event says so. */
  readonly endpointId: number;
}

/**
 * The endpoint of one end. The datapath's identity wins over the tables': it is what was judged. The number of the endpoint
 * counts only when it has that address, since events name the judged endpoint, not always this end.
 */
export function resolveEndpoint(names: Names, end: FlowEnd): Endpoint {
  const byIp = end.ip === "" ? undefined : names.endpointByIp(end.ip);
  const found = byIp ?? (end.ip === "" && end.endpointId !== 0 ? names.endpointById(end.endpointId) : undefined);
  const identity = end.identity || found?.identity || names.identityByIp(end.ip) || (end.ip === "" ? 0 : WORLD);
  return endpointMessage(identity, labelsOf(names, identity, found), found);
}

function labelsOf(names: Names, identity: number, found: EndpointNames | undefined): readonly string[] {
  if (found !== undefined && found.identity === identity && found.labels.length > 0) return found.labels;
  const labels = names.identityLabels(identity);
  if (labels.length > 0) return labels;
  const reserved = identity === 0 ? undefined : reservedIdentityName(identity);
  return reserved === undefined ? [] : [`reserved:${reserved}`];
}

/** Fills in what follows from addresses and ends: services, DNS names, the node. */
export function enrichFlow(names: Names, flow: Flow): void {
  const source = flow.IP?.source ?? "";
  const destination = flow.IP?.destination ?? "";
  const ports = portsOf(flow.l4);
  flow.nodeName = names.nodeName;
  flow.nodeLabels = listOf(names.nodeLabels);
  if (source !== "") flow.sourceService = serviceMessage(names.serviceByAddress(source, ports.source));
  if (destination !== "") flow.destinationService = serviceMessage(names.serviceByAddress(destination, ports.destination));
  const sourceId = flow.source?.ID ?? 0;
  const destinationId = flow.destination?.ID ?? 0;
  // A name is known to the endpoint that asked for it: the other end's.
  if (sourceId !== 0 && destination !== "") flow.destinationNames = listOf(names.dnsNames(sourceId, destination));
  if (destinationId !== 0 && source !== "") flow.sourceNames = listOf(names.dnsNames(destinationId, source));
}

// Messages hold lists that may be changed, which nobody does with a flow's: they need no copies.
function listOf(texts: readonly string[]): string[] {
  return texts as string[];
}
