import { label } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { parseProtocol, protocolNumber } from "#types/proto.ts";
import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { ServiceView } from "../resolve/repository.ts";
import { identityOf, type SourcedObject } from "./objects.ts";

/** One port of a service. The target is a number, or the name of a port of the pods behind it. */
export type ServicePort = {
  readonly name: string;
  readonly protocol: number;
  readonly port: number;
  readonly target: number | string;
  /** The port of every node that leads to it. */
  readonly nodePort?: number | undefined;
};

/** A service: what policies see of it, and what clients do. */
export type WorldService = {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  readonly ports: readonly ServicePort[];
  readonly view: ServiceView;
  readonly from: SourcedObject;
};

const serviceLabel = "kubernetes.io/service-name";
const addressesIn = (texts: readonly unknown[]) => texts.map((text) => parseAddress(textOf(text))).filter((one) => one !== undefined);

function portsOf(spec: unknown): ServicePort[] {
  return listOf(objectOf(spec).ports).flatMap((one) => {
    const { name, port, targetPort, protocol, nodePort } = objectOf(one);
    if (typeof port !== "number") return [];
    const target = typeof targetPort === "number" || typeof targetPort === "string" ? targetPort : port;
    const own = typeof nodePort === "number" ? { nodePort } : {};
    return [{ name: textOf(name), port, target, protocol: parseProtocol(textOf(protocol) || "TCP") ?? protocolNumber.TCP, ...own }];
  });
}

/** Which ports of a service lead to the ports of its slices. */
function targetsOf(ports: readonly ServicePort[], slices: readonly unknown[]): NonNullable<ServiceView["ports"]> {
  const targets = slices.flatMap((slice) => listOf(objectOf(slice).ports).map(objectOf));
  return targets.flatMap(({ name, port, protocol }) =>
    ports
      .filter((one) => one.name === textOf(name))
      .map((one) => ({
        protocol: parseProtocol(textOf(protocol) || "TCP") ?? 0,
        port: one.port,
        targetPort: typeof port === "number" ? port : one.port,
      })),
  );
}

/** The services among the objects, with what their EndpointSlices say. */
export function servicesOf(objects: readonly SourcedObject[]): WorldService[] {
  const slices = new Map<string, unknown[]>();
  for (const { object } of objects) {
    const { kind, namespace, labels } = identityOf(object);
    if (kind !== "EndpointSlice") continue;
    const key = `${namespace || "default"}/${labels[serviceLabel] ?? ""}`;
    slices.set(key, [...(slices.get(key) ?? []), object]);
  }
  return objects.flatMap((from): WorldService[] => {
    const { kind, namespace: given, name, labels } = identityOf(from.object);
    if (kind !== "Service") return [];
    const namespace = given || "default";
    const { spec, status } = objectOf(from.object);
    const { selector, clusterIP, clusterIPs, externalIPs, loadBalancerIP } = objectOf(spec);
    const own = slices.get(`${namespace}/${name}`) ?? [];
    const ports = portsOf(spec);
    const view: ServiceView = {
      namespace,
      name,
      labels: labelSetOf(Object.entries(labels).map(([key, value]) => label(key, value))),
      selector: selector === undefined ? undefined : textsOf(selector),
      endpoints: own.flatMap((slice) => listOf(objectOf(slice).endpoints).flatMap((one) => addressesIn(listOf(objectOf(one).addresses)))),
      ports: targetsOf(ports, own),
    };
    const balanced = listOf(objectOf(objectOf(status).loadBalancer).ingress).map((one) => objectOf(one).ip);
    const addresses = addressesIn([clusterIP, ...listOf(clusterIPs), ...listOf(externalIPs), loadBalancerIP, ...balanced]);
    return [{ namespace, name, addresses: [...new Set(addresses)], ports, view, from }];
  });
}
