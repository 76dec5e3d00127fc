import { labelSetFromRecord } from "#labels/label-set.ts";
import { type LabelSelectorObject, matches, requirementsOf, selectorOf } from "#labels/selector.ts";
import { parseAddress } from "#types/addr.ts";
import { type Prefix, prefixHas } from "#types/prefix.ts";
import { type PodInput, podAddresses } from "./host-port.ts";
import { isPort, parseL4Protocol } from "./service.ts";
import { nameOf, objectKey } from "./source.ts";
import { type Backend, type Frontend, type L4Protocol, l4Address, type ServiceName, serviceName } from "./types.ts";

interface PortInput {
  readonly port: string;
  readonly protocol?: string;
  readonly name?: string;
}

/** What we read of a CiliumLocalRedirectPolicy. */
export interface RedirectInput {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly creationTimestamp?: string };
  readonly spec?: {
    readonly redirectFrontend?: {
      readonly addressMatcher?: { readonly ip: string; readonly toPorts?: readonly PortInput[] };
      readonly serviceMatcher?: { readonly serviceName: string; readonly namespace: string; readonly toPorts?: readonly PortInput[] };
    };
    readonly redirectBackend?: { readonly localEndpointSelector?: LabelSelectorObject; readonly toPorts?: readonly PortInput[] };
    readonly skipRedirectFromBackend?: boolean;
  };
}

interface Port {
  readonly port: number;
  readonly protocol: L4Protocol;
  readonly name: string;
}

/** A policy that sends an address or a service to pods of the same node. */
export interface Redirect {
  readonly name: ServiceName;
  readonly from:
    | { readonly kind: "address"; readonly ip: string; readonly ports: readonly Port[] }
    | { readonly kind: "service"; readonly service: ServiceName; readonly ports: readonly Port[] };
  readonly selects: (pod: PodInput) => boolean;
  readonly toPorts: readonly Port[];
  /** The pods themselves are not redirected. */
  readonly skipsBackends: boolean;
}

/** Reads a policy; what is wrong with it otherwise. `allowed`: blocks of the addresses that policies may name, all when empty. */
export function parseRedirect(object: RedirectInput, allowed: readonly Prefix[] = []): Redirect | { readonly problem: string } {
  const name = nameOf(object);
  const { redirectFrontend = {}, redirectBackend, skipRedirectFromBackend = false } = object.spec ?? {};
  const { addressMatcher, serviceMatcher } = redirectFrontend;
  if ((addressMatcher === undefined) === (serviceMatcher === undefined))
    return { problem: "spec.redirectFrontend: give one of addressMatcher and serviceMatcher" };
  const toPorts = readPorts(redirectBackend?.toPorts ?? [], "spec.redirectBackend.toPorts");
  const fromPorts = readPorts((addressMatcher ?? serviceMatcher)?.toPorts ?? [], "spec.redirectFrontend.toPorts");
  if ("problem" in toPorts) return toPorts;
  if ("problem" in fromPorts) return fromPorts;
  const selector = selectorOf(requirementsOf(redirectBackend?.localEndpointSelector ?? {}));
  const from = addressMatcher ? fromAddress(addressMatcher.ip, fromPorts, allowed) : fromService(name, serviceMatcher, fromPorts);
  if ("problem" in from) return from;
  return {
    name,
    from,
    toPorts,
    skipsBackends: skipRedirectFromBackend,
    selects: (pod) =>
      (pod.metadata.namespace ?? "default") === name.namespace &&
      matches(selector, labelSetFromRecord(Object.fromEntries(Object.entries(pod.metadata.labels ?? {}).map(([k, v]) => [`k8s:${k}`, v])))),
  };
}

function fromAddress(text: string, ports: readonly Port[], allowed: readonly Prefix[]): Redirect["from"] | { readonly problem: string } {
  const ip = parseAddress(text);
  if (ip === undefined) return { problem: `spec.redirectFrontend.addressMatcher.ip: "${text}" is no IP address` };
  if (allowed.length > 0 && !allowed.some((block) => prefixHas(block, ip)))
    return { problem: `spec.redirectFrontend.addressMatcher.ip: ${text} is not in ${allowed.join(", ")} (lrp-address-matcher-cidrs)` };
  if (ports.length === 0) return { problem: "spec.redirectFrontend.addressMatcher.toPorts: name at least one port" };
  return { kind: "address", ip, ports };
}

function fromService(
  name: ServiceName,
  matcher: { readonly serviceName: string; readonly namespace: string } | undefined,
  ports: readonly Port[],
): Redirect["from"] | { readonly problem: string } {
  const namespace = matcher?.namespace || name.namespace;
  // Else one namespace could take over another's service.
  if (namespace !== name.namespace)
    return { problem: `spec.redirectFrontend.serviceMatcher.namespace: found ${namespace}, must be the policy's own, ${name.namespace}` };
  return { kind: "service", service: serviceName(namespace, matcher?.serviceName ?? ""), ports };
}

function readPorts(ports: readonly PortInput[], field: string): Port[] | { readonly problem: string } {
  const read: Port[] = [];
  for (const { port: text, protocol: name, name: portName } of ports) {
    const [port, protocol] = [Number(text), parseL4Protocol(name?.toUpperCase())];
    if (!isPort(port) || protocol === undefined) return { problem: `${field}: "${text}/${name ?? "TCP"}" is no port` };
    read.push({ port, protocol, name: (portName ?? "").toLowerCase() });
  }
  return read;
}

/**
 * The frontends that a policy takes over: of `services`, the present frontends of its service, or its address. None while no ready
 * pod of this node is selected: then the traffic goes where it went before.
 */
export function redirectsOf(redirect: Redirect, services: readonly Frontend[], pods: Iterable<PodInput>): Frontend[] {
  const selected = [...pods].filter((pod) => redirect.selects(pod));
  const ready = selected.filter(isReady);
  const { from, toPorts } = redirect;
  // Those that are not ready too: what they ask for may be what makes them ready.
  const skippedBy = redirect.skipsBackends ? selected.map(({ metadata }) => objectKey({ metadata })) : undefined;
  const taken = (frontend: Pick<Frontend, "address" | "portName">, unredirected?: Frontend): Frontend[] => {
    const target = targetOf(toPorts, from.ports, frontend);
    const backends = target === undefined ? [] : backendsOf(ready, target, frontend.address.ip);
    if (backends.length === 0) return [];
    const skips = skippedBy === undefined ? {} : { skippedBy, unredirected };
    const redirected = from.kind === "service" ? { redirected: from.service } : {};
    return [
      { ...PLAIN, service: redirect.name, portName: frontend.portName, address: frontend.address, backends, ...redirected, ...skips },
    ];
  };
  if (from.kind === "address") {
    return from.ports.flatMap(({ port, protocol, name }) => taken({ portName: name, address: l4Address(from.ip, port, protocol) }));
  }
  const wanted = ({ address, portName, type }: Frontend) =>
    type === "ClusterIP" &&
    (from.ports.length === 0 ||
      from.ports.some(
        ({ port, protocol, name }) => port === address.port && protocol === address.protocol && (name === "" || name === portName),
      ));
  return services.filter(wanted).flatMap((service) => taken(service, service));
}

const PLAIN = {
  type: "LocalRedirect",
  internalPolicy: "Cluster",
  externalPolicy: "Cluster",
  sourceRanges: [],
  denySourceRanges: false,
} as const;

/** The one port there is; of several the one of the same name, or without names the one of the protocol, or at the same place. */
function targetOf(toPorts: readonly Port[], fromPorts: readonly Port[], { address, portName }: Pick<Frontend, "address" | "portName">) {
  const fitting = toPorts.filter(({ protocol }) => protocol === address.protocol);
  if (toPorts.length === 1) return fitting[0];
  const named = fitting.find(({ name }) => name !== "" && name === portName);
  const unnamed = fitting.filter(({ name }) => name === "");
  if (named !== undefined || unnamed.length <= 1) return named ?? unnamed[0];
  const place = fromPorts.findIndex(({ port, protocol }) => port === address.port && protocol === address.protocol);
  return toPorts[place];
}

function backendsOf(pods: readonly PodInput[], { port, protocol }: Port, frontendIp: string): Backend[] {
  return pods.flatMap((pod) =>
    podAddresses(pod)
      .filter((ip) => ip.includes(":") === frontendIp.includes(":"))
      .map((ip) => ({ address: l4Address(ip, port, protocol), state: "active", nodeName: pod.spec?.nodeName })),
  );
}

function isReady({ metadata, status }: PodInput): boolean {
  return (
    metadata.deletionTimestamp === undefined &&
    (status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false)
  );
}
