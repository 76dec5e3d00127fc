import type { Endpoint } from "#endpoint/endpoint.ts";
import { stringifyMonitorEvent } from "#monitor/json.ts";
import { explain, formatNearMiss } from "#policy/explain/explain.ts";
import type { Registry } from "#runtime/metrics.ts";
import { parseAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { parseProtocol } from "#types/proto.ts";
import type { AgentConfig } from "./config.ts";
import { dumpableMaps, dumpConntrack, dumpMap, policyRow } from "./dump.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { endpointToJson } from "./endpoint-view.ts";
import { fqdnRoutes } from "./fqdn-view.ts";
import { ApiError, type ApiRequest, type Routes } from "./http.ts";
import type { RunningHubble } from "./hubble.ts";
import { formatIpam } from "./ipam-view.ts";
import { createRuntimeOptions, isEnabled } from "./options.ts";
import { serviceRoutes } from "./service-api.ts";
import { agentStatus } from "./status.ts";

export interface ApiDeps extends EdgeDeps {
  readonly hubble: RunningHubble | undefined;
  readonly registry: Registry;
}

/** The local API: paths and shapes of README.md. */
export function apiRoutes(deps: ApiDeps, config: AgentConfig): Routes {
  return {
    ...statusRoutes(deps, config),
    ...endpointRoutes(deps),
    ...policyRoutes(deps),
    ...tableRoutes(deps),
    ...serviceRoutes(deps),
    ...fqdnRoutes(deps),
    ...streamRoutes(deps),
  };
}

/** A histogram's samples have names of their own: `…_bucket`, `…_sum`, `…_count`. */
function sampleName(sample: object): string | undefined {
  return "metricName" in sample && typeof sample.metricName === "string" ? sample.metricName : undefined;
}

function statusRoutes(deps: ApiDeps, config: AgentConfig): Routes {
  const { state, registry } = deps;
  const options = createRuntimeOptions(deps, config);
  const settings = () => ({ status: { daemonConfigurationMap: config, ipam: { mode: config.ipam } }, spec: { options: options.read() } });
  return {
    "GET /v1/healthz": () => agentStatus(deps, config),
    "GET /v1/config": settings,
    "PATCH /v1/config": async ({ body }) => {
      options.change(optionsOf(body));
      await deps.loops.pipeline.settled();
      return settings();
    },
    "GET /v1/metrics": async () => {
      const families = await registry.getMetricsAsJSON();
      return families.flatMap(({ name, values }) =>
        values.map((one) => ({ name: sampleName(one) ?? name, labels: one.labels, value: one.value })),
      );
    },
    "GET /v1/debuginfo": () => ({
      status: agentStatus(deps, config),
      config: settings(),
      endpoints: [...state.endpoints.list()].map((row) => endpointJson(deps, row)),
      tables: Object.fromEntries(state.db.tables().map(({ name }) => [name, state.db.show(name)])),
    }),
  };
}

function optionsOf(body: unknown): Record<string, unknown> {
  const options = (body as { options?: unknown } | undefined)?.options;
  if (typeof options !== "object" || options === null) throw new ApiError(400, 'the body needs "options": {…}');
  return options as Record<string, unknown>;
}

function endpointJson({ state, loops, hub, proxy }: ApiDeps, endpoint: Endpoint): unknown {
  return endpointToJson({
    endpoint,
    policy: state.controller.policyOf(endpoint),
    realized: loops.policyMaps.realized(endpoint.id),
    audit: state.audit.of(endpoint),
    proxyRevision: proxy.status?.revision ?? 0,
    log: hub.logOf(endpoint.id),
  });
}

function findEndpoint({ state }: ApiDeps, text: string): Endpoint {
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

function endpointRoutes(deps: ApiDeps): Routes {
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

function policyRoutes(deps: ApiDeps): Routes {
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
    "GET /v1/policy": () => ({
      revision: controller.repository.revision,
      policy: JSON.stringify(
        [...state.policies.table.list()].map(({ object }) => object.spec ?? object.specs),
        null,
        2,
      ),
    }),
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

function explainFlow(deps: ApiDeps, query: URLSearchParams): unknown {
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

/** A decimal number from 0 to `most`; anything else is the client's mistake. */
function wholeNumber(what: string, text: string, most = Number.MAX_SAFE_INTEGER): number {
  return /^\d+$/.test(text) && Number(text) <= most ? Number(text) : refuse(`${what}: found "${text}", allowed are 0 to ${most}`);
}

function missing(message: string): never {
  throw new ApiError(404, message);
}

function refuse(message: string): never {
  throw new ApiError(400, message);
}

function tableRoutes(deps: ApiDeps): Routes {
  const { state, kernel } = deps;
  const { maps } = kernel.datapath;
  const identityJson = (id: number) => ({ id, labels: state.identities.table.get(id)?.labels.texts ?? [] });
  return {
    "GET /v1/identity": ({ query }) => {
      const wanted = query.getAll("labels").flatMap((text) => text.split(","));
      const rows = [...state.identities.table.list()].filter(({ labels }) => wanted.every((label) => labels.texts.includes(label)));
      return rows.sort((a, b) => a.id - b.id).map(({ id }) => identityJson(id));
    },
    "GET /v1/identity/endpoints": () =>
      [...Map.groupBy(state.endpoints.list(), ({ identity }) => identity ?? 0)].map(([id, rows]) => ({
        identity: identityJson(id),
        refCount: rows.length,
      })),
    "GET /v1/identity/{id}": ({ parameters }) => {
      const id = wholeNumber("identity", parameters[0] ?? "", 0xffffffff);
      if (!state.identities.table.get(id)) throw new ApiError(404, `there is no identity ${id}`);
      return identityJson(id);
    },
    "GET /v1/ip": () =>
      [...state.ipcache.table.list()].map(({ prefix, identity, nodeIp, source, pod }) => ({
        cidr: prefix,
        identity,
        ...(nodeIp ? { hostIP: nodeIp } : {}),
        encryptKey: 0,
        metadata: { source, ...pod },
      })),
    "GET /v1/ipam": () => formatIpam(kernel.pools),
    "GET /v1/cluster/nodes": () => ({
      "nodes-added": [...state.nodes.table.list()].map(({ name, internalIps, podCidrs, routerIps }) => ({
        name,
        "primary-address": { ipv4: { enabled: true, ip: internalIps[0] ?? "", "alloc-range": podCidrs[0] ?? "" } },
        "health-endpoint-address": {},
        "secondary-addresses": routerIps.map((ip) => ({ ip, "address-type": "CiliumInternalIP" })),
      })),
    }),
    "GET /v1/map": () => ({ maps: dumpableMaps.map((name) => ({ path: name, name })) }),
    "GET /v1/map/{name}": ({ parameters }) => {
      const entries = dumpMap(maps, parameters[0] ?? "");
      if (!entries) throw new ApiError(404, `found map "${parameters[0]}", dumped are ${dumpableMaps.join(", ")}`);
      return { name: parameters[0], entries };
    },
    "GET /v1/bpf/ct": () => dumpConntrack(maps.conntrack.entries()),
    "GET /v1/statedb": () => state.db.tables().map(({ name, size, revision }) => ({ name, rows: size, revision })),
    "GET /v1/statedb/{table}": ({ parameters }) => state.db.show(parameters[0] ?? "") ?? missing(`there is no table "${parameters[0]}"`),
  };
}

/** A reader that lags behind by more than this many lines loses some, and is told how many. */
const MONITOR_BACKLOG = 10_000;

function streamRoutes({ hub }: ApiDeps): Routes {
  return {
    "GET /v1/monitor": {
      stream({ query }, write, signal) {
        const types = new Set(query.getAll("type").flatMap((text) => text.split(",")));
        let [blocked, lost] = [0, 0];
        const subscription = hub.subscribe((event) => {
          if (types.size > 0 && event.type !== "lost" && !types.has(event.type)) return;
          if (blocked > MONITOR_BACKLOG) {
            lost += 1;
            return;
          }
          if (lost > 0) write(JSON.stringify({ type: "lost", source: "observer", count: lost }));
          lost = 0;
          blocked = write(stringifyMonitorEvent(event)) ? 0 : blocked + 1;
        });
        signal.addEventListener("abort", () => subscription[Symbol.dispose](), { once: true });
      },
    },
  };
}
