import type { Frontend } from "#loadbalancer/types.ts";

/** A frontend as upstream's service API shows it. */
export function serviceToJson({ address, backends, service, type, trafficPolicy }: Frontend, index: number): unknown {
  const spec = {
    id: index + 1,
    "frontend-address": { ip: address.ip, port: address.port, protocol: address.protocol, scope: "external" },
    "backend-addresses": backends.map((backend) => ({
      ip: backend.address.ip,
      port: backend.address.port,
      protocol: backend.address.protocol,
      state: backend.state === "not-ready" ? "quarantined" : backend.state,
      weight: 100,
      ...(backend.nodeName ? { nodeName: backend.nodeName } : {}),
    })),
    flags: { type, name: service.name, namespace: service.namespace, trafficPolicy },
  };
  return { spec, status: { realized: spec } };
}
