import type { Database } from "#statedb/database.ts";
import type { WritableTable } from "#statedb/table.ts";
import type { BackendState, Frontend, L4Address, ServiceName } from "./types.ts";

/** One Service as this node sees it. */
export interface ServiceRow {
  readonly name: ServiceName;
  readonly frontends: number;
  /** Ready backends on this node. */
  readonly localBackends: number;
  /** Where load balancers ask for them. */
  readonly healthCheckNodePort?: number | undefined;
  /** What of the objects could not be used and why. */
  readonly problems: readonly string[];
}

/** One address that services lead to. */
export interface BackendRow {
  readonly address: L4Address;
  readonly state: BackendState;
  readonly nodeName?: string | undefined;
  readonly zone?: string | undefined;
  /** Services, pods and redirects that have it. */
  readonly users: number;
}

/** One CiliumLocalRedirectPolicy as this node sees it. */
export interface RedirectRow {
  readonly name: ServiceName;
  /** The addresses that lead to pods of this node because of it. */
  readonly frontends: readonly L4Address[];
  /** Why it does not do what it says; empty when it does. */
  readonly problem: string;
}

export interface LoadBalancerTables {
  readonly services: WritableTable<ServiceRow>;
  /** By address; indexes `ip`, `service` and `skippedBy`. */
  readonly frontends: WritableTable<Frontend>;
  readonly backends: WritableTable<BackendRow>;
  readonly redirects: WritableTable<RedirectRow>;
}

export function createLoadBalancerTables(db: Database): LoadBalancerTables {
  return {
    services: db.createTable<ServiceRow>({
      name: "services",
      key: (row) => row.name.text,
      columns: {
        SERVICE: (row) => row.name.text,
        FRONTENDS: (row) => row.frontends,
        LOCAL: (row) => row.localBackends,
        HEALTHCHECK: (row) => row.healthCheckNodePort ?? "",
        PROBLEMS: (row) => row.problems.join("; "),
      },
    }),
    frontends: db.createTable<Frontend>({
      name: "frontends",
      key: (row) => row.address.text,
      indexes: {
        ip: (row) => row.address.ip,
        service: (row) => row.service.text,
        skippedBy: (row) => row.skippedBy ?? [],
      },
      columns: {
        ADDRESS: (row) => row.address.text,
        TYPE: (row) => row.type,
        SERVICE: (row) => row.service.text,
        PORT: (row) => row.portName,
        BACKENDS: (row) => row.backends.map(({ address, state }) => `${address.text} (${state})`).join(", "),
        OPTIONS: (row) => optionsOf(row).join(", "),
      },
    }),
    backends: db.createTable<BackendRow>({
      name: "backends",
      key: (row) => row.address.text,
      columns: {
        ADDRESS: (row) => row.address.text,
        STATE: (row) => row.state,
        NODE: (row) => row.nodeName ?? "",
        ZONE: (row) => row.zone ?? "",
        USERS: (row) => row.users,
      },
    }),
    redirects: db.createTable<RedirectRow>({
      name: "localredirects",
      key: (row) => row.name.text,
      columns: {
        POLICY: (row) => row.name.text,
        FRONTENDS: (row) => row.frontends.map(({ text }) => text).join(", "),
        PROBLEM: (row) => row.problem,
      },
    }),
  };
}

/** What a frontend has beside the defaults. */
function optionsOf(row: Frontend): string[] {
  return [
    ...(row.internalPolicy === "Local" ? ["internal=Local"] : []),
    ...(row.externalPolicy === "Local" ? ["external=Local"] : []),
    ...(row.affinitySeconds === undefined ? [] : [`affinity=${row.affinitySeconds}s`]),
    ...(row.sourceRanges.length === 0 ? [] : [`${row.denySourceRanges ? "deny" : "allow"}=${row.sourceRanges.join(" ")}`]),
    ...(row.algorithm === undefined ? [] : [row.algorithm]),
    ...(row.skippedBy === undefined ? [] : [`skipped-by=${row.skippedBy.join(" ") || "-"}`]),
    ...(row.forwarding === undefined ? [] : [row.forwarding]),
  ];
}
