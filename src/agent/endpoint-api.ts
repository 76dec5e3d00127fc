import type { Endpoint } from "#endpoint/endpoint.ts";
import { parseAddress } from "#types/addr.ts";
import { optionsOf, wholeNumber } from "./api-parameters.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { endpointToJson } from "./endpoint-view.ts";
import { ApiError, type ApiRequest, type Routes } from "./http.ts";
import { isEnabled } from "./options.ts";

/** The endpoints of this node, by any of their names, and what can be changed of them. */
export function endpointRoutes(deps: EdgeDeps): Routes {
  const { state, control, hub } = deps;
  const find = ({ parameters }: ApiRequest) => findEndpoint(deps, parameters[0] ?? "");
  const wanted = (query: URLSearchParams) => query.getAll("labels").flatMap((text) => text.split(","));
  return {
    "GET /v1/endpoint": ({ query }) => {
      const rows = [...state.endpoints.list()].filter(({ labels }) => wanted(query).every((label) => labels.texts.includes(label)));
      return rows.sort((a, b) => a.id - b.id).map((row) => endpointJson(deps, row));
    },
    "GET /v1/endpoint/{id}": (request) => endpointJson(deps, find(request)),
    "GET /v1/endpoint/{id}/log": (request) => hub.logOf(find(request).id),
    "PATCH /v1/endpoint/{id}/config": async (request) => {
      const { id } = find(request);
      const { PolicyAuditMode: mode } = optionsOf(request.body);
      if (mode !== undefined) control.setAuditMode(id, isEnabled("PolicyAuditMode", String(mode)));
      await deps.loops.pipeline.settled();
      return endpointJson(deps, find(request));
    },
    "POST /v1/endpoint/{id}/regenerate": async (request) => {
      const { id } = find(request);
      control.regenerate(id);
      await deps.loops.pipeline.settled();
      return endpointJson(deps, find(request));
    },
  };
}

/** An endpoint as upstream's `Endpoint`. */
export function endpointJson({ state, loops, hub, proxy }: EdgeDeps, endpoint: Endpoint): unknown {
  return endpointToJson({
    endpoint,
    policy: state.controller.policyOf(endpoint),
    realized: loops.policyMaps.realized(endpoint.id),
    audit: state.audit.of(endpoint),
    proxyRevision: proxy.status?.revision ?? 0,
    log: hub.logOf(endpoint.id),
  });
}

/** Upstream's forms of an endpoint's id: `1423`, `cilium-local:1423`, `pod-name:ns:pod` and so on. Throws `ApiError` 400 or 404. */
export function findEndpoint({ state }: EdgeDeps, text: string): Endpoint {
  const { endpoints } = state;
  const [kind, ...rest] = text.includes(":") ? text.split(":") : ["cilium-local", text];
  const value = rest.join(":");
  const candidates: Record<string, () => Endpoint | undefined> = {
    "cilium-local": () => endpoints.get(wholeNumber("endpoint", value)),
    "pod-name": () => endpoints.by("pod", value.replace(":", "/"))[0],
    "container-id": () => [...endpoints.list()].find((row) => row.containerId === value),
    "cni-attachment-id": () => endpoints.by("attachment", value)[0],
    ipv4: () => endpoints.by("ip", value)[0],
    ipv6: () => endpoints.by("ip", parseAddress(value) ?? "")[0],
  };
  const find = Object.hasOwn(candidates, kind ?? "") ? candidates[kind ?? ""] : undefined;
  if (!find) throw new ApiError(400, `endpoint "${text}": found prefix "${kind}", allowed are ${Object.keys(candidates).join(", ")}`);
  const endpoint = find();
  if (!endpoint) throw new ApiError(404, `there is no endpoint "${text}" on this node`);
  return endpoint;
}
