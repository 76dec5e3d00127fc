import type { Backend, Frontend } from "#loadbalancer/types.ts";

/** A frontend as upstream's service API shows it. `id` is its number in the kernel. */
export function serviceToJson(frontend: Frontend, id: number): unknown {
  const { address, backends, service, type } = frontend;
  const spec = {
    id,
    "frontend-address": { ip: address.ip, port: address.port, protocol: address.protocol, scope: "external" },
    "backend-addresses": backends.map(backendToJson),
    flags: {
      type,
      name: service.name,
      namespace: service.namespace,
      portName: frontend.portName,
      trafficPolicy: frontend.externalPolicy,
      extTrafficPolicy: frontend.externalPolicy,
      intTrafficPolicy: frontend.internalPolicy,
      ...(frontend.affinitySeconds === undefined ? {} : { sessionAffinityTimeout: frontend.affinitySeconds }),
      ...(frontend.sourceRanges.length === 0 ? {} : { sourceRanges: frontend.sourceRanges, denySourceRanges: frontend.denySourceRanges }),
      ...(frontend.algorithm === undefined ? {} : { algorithm: frontend.algorithm }),
      ...(frontend.redirected === undefined ? {} : { redirectedService: frontend.redirected.text }),
      ...(frontend.forwarding === undefined ? {} : { forwardingMode: frontend.forwarding }),
    },
    service: service.text,
  };
  return { spec, status: { realized: spec } };
}

function backendToJson({ address, state, nodeName, zone }: Backend): unknown {
  const { ip, port, protocol } = address;
  return { ip, port, protocol, state, weight: 100, ...(nodeName ? { nodeName } : {}), ...(zone ? { zone } : {}) };
}
