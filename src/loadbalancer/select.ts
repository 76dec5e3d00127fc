import { backendsOf, SERVICE_NAME_LABEL, type SliceInput } from "./backends.ts";
import { frontendsOf, type ServiceInput } from "./service.ts";
import type { Backend, Frontend } from "./types.ts";

/** All frontends of one service with their backends. */
export function frontendsWithBackends(service: ServiceInput, slices: readonly SliceInput[]): Frontend[] {
  return frontendsOf(service).map((frontend) => {
    const family = frontend.address.ip.includes(":") ? "IPv6" : "IPv4";
    return { ...frontend, backends: backendsOf(slices, frontend.portName, frontend.address.protocol, family) };
  });
}

/** All frontends of all services. Slices without a service, and services without slices, do no harm. */
export function loadBalance(services: Iterable<ServiceInput>, slices: Iterable<SliceInput>): Frontend[] {
  const byService = Map.groupBy(
    slices,
    (slice) => `${slice.metadata.namespace ?? "default"}/${slice.metadata.labels?.[SERVICE_NAME_LABEL] ?? ""}`,
  );
  return [...services].flatMap((service) => {
    const key = `${service.metadata.namespace ?? "default"}/${service.metadata.name}`;
    return frontendsWithBackends(service, byService.get(key) ?? []);
  });
}

/**
 * The backends that get new connections at a node: active ones; when there are none, terminating ones that still serve. With traffic
 * policy `Local` only those of this node.
 */
export function backendsFor(frontend: Frontend, nodeName: string): readonly Backend[] {
  const eligible =
    frontend.trafficPolicy === "Local" ? frontend.backends.filter((backend) => backend.nodeName === nodeName) : frontend.backends;
  const active = eligible.filter(({ state }) => state === "active");
  return active.length > 0 ? active : eligible.filter(({ state }) => state === "terminating");
}
