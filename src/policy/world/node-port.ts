import { reservedIdentity } from "#types/identity.ts";
import { hasPorts, protocolNumber } from "#types/proto.ts";
import { objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { PortQuestion } from "./connection.ts";
import { byService, type Found } from "./find.ts";
import { blocksOf } from "./outside.ts";
import type { Party } from "./party.ts";
import type { WorldService } from "./services.ts";
import { configOf } from "./settings.ts";
import type { World } from "./world.ts";

type Known = Exclude<Found, { readonly problem: string }>;

/** What is behind a port of a node that is a node port, with the question as one to its service; undefined where it is none. */
export function behindNodePort(
  world: World,
  { parties, service }: Known,
  asked: PortQuestion,
): { readonly found: Found; readonly asked: PortQuestion } | undefined {
  const protocol = asked.protocol ?? protocolNumber.TCP;
  if (service !== undefined || !hasPorts(protocol) || !parties.some((one) => one.kind === "node" && one.node !== undefined))
    return undefined;
  for (const one of world.services) {
    const port = one.ports.find(({ nodePort, protocol: own }) => nodePort === asked.port && own === protocol);
    if (port !== undefined) return { found: byService(world, one), asked: { ...asked, port: port.port } };
  }
  return undefined;
}

/**
 * Whom a service's pods see besides a client outside: a node that gets the connection for a pod of another one puts its own address in the place of
 * the client's. Undefined where none does.
 */
export function forwarder(world: World, from: Party, service: WorldService | undefined, protocol: number): Party | undefined {
  const isClient =
    from.kind === "outside" && (from.identity === reservedIdentity.world || blocksOf(from).length > 0 || from.family !== undefined);
  if (service === undefined || !isClient || !isReachedOutside(service) || world.nodes.length === 1) return undefined;
  if (forwarding(world, service, protocol) === "dsr") return undefined;
  return { kind: "node", title: `${from.title} by way of another node`, node: undefined, identity: reservedIdentity.remoteNode };
}

/** Services that keep what comes from outside on the node that got it have no other one in between. */
function isReachedOutside({ from }: WorldService): boolean {
  const { type, externalTrafficPolicy } = objectOf(objectOf(from.object).spec);
  return (type === "NodePort" || type === "LoadBalancer") && externalTrafficPolicy !== "Local";
}

/** With DSR the other node answers the client itself, and sees its address. */
function forwarding(world: World, { from }: WorldService, protocol: number): string {
  const annotated = textsOf(objectOf(objectOf(from.object).metadata).annotations)["service.cilium.io/forwarding-mode"];
  const mode = textOf(annotated) || textOf(configOf(world.objects).data["bpf-lb-mode"]);
  return mode === "hybrid" ? (protocol === protocolNumber.TCP ? "dsr" : "snat") : mode;
}
