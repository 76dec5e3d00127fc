import { dumpNat, dumpServices } from "#datapath/service-dump.ts";
import { monotonicNs } from "#sys/clock.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import type { Routes } from "./http.ts";
import { serviceToJson } from "./service-view.ts";

/** What the local API tells of services: the tables, and the kernel's maps. */
export function serviceRoutes(deps: EdgeDeps): Routes {
  const { state, kernel } = deps;
  const { tables } = state.services;
  const { maps } = kernel.datapath;
  return {
    "GET /v1/service": () => serviceList(deps),
    "GET /v1/service/problems": () => [...tables.services.list()].filter(({ problems }) => problems.length > 0),
    "GET /v1/lrp": () => [...tables.redirects.list()],
    "GET /v1/bpf/lb": () => dumpServices(maps),
    "GET /v1/bpf/nat": () => dumpNat(maps, Number(monotonicNs() / 1_000_000_000n)),
  };
}

/** All frontends as upstream's `Service`. */
export function serviceList({ state, loops }: EdgeDeps): unknown[] {
  return [...state.services.tables.frontends.list()].map((row) => serviceToJson(row, loops.services.maps.idOf(row) ?? 0));
}
