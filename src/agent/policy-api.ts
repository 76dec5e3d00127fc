import type { Endpoint } from "#endpoint/endpoint.ts";
import { explain, formatNearMiss } from "#policy/explain/explain.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parseProtocol } from "#types/proto.ts";
import { refuse, wholeNumber } from "./api-parameters.ts";
import { policyRow } from "./dump.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { findEndpoint } from "./endpoint-api.ts";
import { ApiError, type Routes } from "./http.ts";

/** The rules, what came of them, and why they decide as they do. */
export function policyRoutes(deps: EdgeDeps): Routes {
  const { state } = deps;
  const { controller, cookies } = state;
  const labelsOf = (identity: number) => state.identities.table.get(identity)?.labels;
  /** What the kernel has, not what it should have. */
  const policyEntries = ({ id }: Endpoint) => {
    const inner = deps.kernel.datapath.maps.policy.get(id);
    try {
      return { endpoint: id, entries: [...(inner?.entries() ?? [])].map(([key, value]) => policyRow(key, value, labelsOf, cookies)) };
    } finally {
      inner?.close();
    }
  };
  return {
    "GET /v1/policy": () => policyList(deps),
    "GET /v1/policy/rules": () => ({
      revision: controller.repository.revision,
      rules: [...state.policies.table.list()].map(({ parsed, object }) => ({
        ...parsed.ref,
        labels: object.metadata.labels ?? {},
        ingress: parsed.rules.filter(({ direction }) => direction === "ingress").length,
        egress: parsed.rules.filter(({ direction }) => direction === "egress").length,
        issues: parsed.issues,
        warnings: parsed.warnings,
        object,
      })),
    }),
    "GET /v1/policy/selectors": () =>
      controller.cache.selectors().map(({ text, identities, users }) => ({ selector: text, identities, users })),
    "GET /v1/policy/usage": () => deps.usage.rows(),
    "GET /v1/policy/explain": ({ query }) => explainFlow(deps, query),
    "GET /v1/bpf/policy/{id}": ({ parameters }) =>
      parameters[0] === "all" ? [...state.endpoints.list()].map(policyEntries) : [policyEntries(findEndpoint(deps, parameters[0] ?? ""))],
  };
}

/** All rules as upstream's `Policy`. */
export function policyList({ state }: EdgeDeps): unknown {
  const specs = [...state.policies.table.list()].map(({ object }) => object.spec ?? object.specs);
  return { revision: state.controller.repository.revision, policy: JSON.stringify(specs, null, 2) };
}

function explainFlow(deps: EdgeDeps, query: URLSearchParams): unknown {
  const need = (name: string) => query.get(name) ?? refuse(`?${name}= is missing`);
  const endpoint = findEndpoint(deps, need("endpoint"));
  const { controller } = deps.state;
  const policy = controller.policyOf(endpoint);
  if (!policy) throw new ApiError(503, `endpoint ${endpoint.id} has no policy yet`);
  const direction = need("direction");
  if (direction !== "ingress" && direction !== "egress") return refuse(`direction: found "${direction}", allowed are ingress and egress`);
  const protocol = parseProtocol(need("protocol")) ?? refuse(`protocol: found "${query.get("protocol")}"`);
  const method = query.get("method");
  const http = method === null ? {} : { http: { method, path: query.get("path") ?? "/", host: query.get("host") ?? "", headers: [] } };
  const identity = NumericIdentity(wholeNumber("identity", need("identity"), 0xffffffff));
  const flow = { direction, identity, protocol, port: wholeNumber("port", need("port"), 0xffff), ...http } as const;
  const told = explain(controller.repository, controller.cache, policy, flow);
  return { ...told, text: [...told.lines, ...told.nearest.map(formatNearMiss)].join("\n") };
}
