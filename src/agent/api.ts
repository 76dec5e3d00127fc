import { stringifyMonitorEvent } from "#monitor/json.ts";
import { missing, wholeNumber } from "./api-parameters.ts";
import { podCgroups } from "./cgroups.ts";
import type { AgentConfig } from "./config.ts";
import { dumpableMaps, dumpConntrack, dumpMap } from "./dump.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { endpointRoutes } from "./endpoint-api.ts";
import { fqdnRoutes } from "./fqdn-view.ts";
import { ApiError, type Routes } from "./http.ts";
import { formatIpam } from "./ipam-view.ts";
import { cgroupRoot } from "./kernel.ts";
import { policyRoutes } from "./policy-api.ts";
import { serviceRoutes } from "./service-api.ts";
import { type ApiDeps, statusRoutes } from "./status-api.ts";

/** The local API: paths and shapes of README.md. */
export function apiRoutes(deps: ApiDeps, config: AgentConfig): Routes {
  return {
    ...statusRoutes(deps, config),
    ...endpointRoutes(deps),
    ...policyRoutes(deps),
    ...tableRoutes(deps, config),
    ...serviceRoutes(deps),
    ...fqdnRoutes(deps),
    ...streamRoutes(deps),
  };
}

function tableRoutes(deps: EdgeDeps, config: AgentConfig): Routes {
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
        source: name === deps.self.name ? "local" : "custom-resource",
        "primary-address": { ipv4: { enabled: true, ip: internalIps[0] ?? "", "alloc-range": podCidrs[0] ?? "" } },
        "health-endpoint-address": {},
        "secondary-addresses": routerIps.map((ip) => ({ ip, "address-type": "CiliumInternalIP" })),
      })),
    }),
    "GET /v1/cgroup-dump-metadata": () => ({ "pod-metadatas": cgroupMetadata(deps, cgroupRoot(config)) }),
    // Node ids are what encryption tells nodes apart by.
    "GET /v1/node/ids": () => [],
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

/** Which cgroups the pods of this node have, as upstream's `CgroupPodMetadata`. */
function cgroupMetadata({ state }: EdgeDeps, root: string): unknown[] {
  const byPod = Map.groupBy(podCgroups(root), ({ podUid }) => podUid);
  return [...state.endpoints.list()].map(({ pod, ipv4, ipv6 }) => ({
    name: pod.name,
    namespace: pod.namespace,
    ips: [ipv4, ipv6].filter((ip) => ip !== undefined),
    containers: (byPod.get(pod.uid ?? "") ?? []).map(({ id, path }) => ({ "cgroup-id": Number(id), "cgroup-path": path })),
  }));
}

/** A reader that lags behind by more than this many lines loses some, and is told how many. */
const MONITOR_BACKLOG = 10_000;

function streamRoutes({ hub }: EdgeDeps): Routes {
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
