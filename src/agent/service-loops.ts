import type { Datapath } from "#datapath/loader.ts";
import { createMaglevTables } from "#datapath/reconcile/maglev.ts";
import { createServiceTarget, type ServiceMaps } from "#datapath/reconcile/services.ts";
import { createSkipTarget } from "#datapath/reconcile/skips.ts";
import type { Endpoint } from "#endpoint/endpoint.ts";
import { type Pipeline, startPipeline } from "#reconciler/pipeline.ts";
import { createReconciler, type Reconciler, type ReconcilerDeps, startReconciler } from "#reconciler/reconciler.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { createHealthChecks } from "./health-checks.ts";
import type { LbSettings } from "./lb-settings.ts";
import { createRedirectSkips } from "./redirect-skips.ts";
import type { Services } from "./services.ts";
import type { StaleConnections } from "./stale-connections.ts";

/** From the load balancer's tables to the kernel and to those who ask after our health. */
export interface ServiceLoops extends AsyncDisposable {
  /** From objects to maps. */
  readonly pipeline: Pipeline;
  readonly maps: ServiceMaps;
  readonly stale: StaleConnections;
  readonly frontends: Reconciler;
}

export interface ServiceLoopsDeps extends ReconcilerDeps {
  readonly db: Database;
  readonly services: Services;
  readonly endpoints: Table<Endpoint>;
  readonly datapath: Pick<Datapath, "maps" | "expedite">;
  readonly stale: StaleConnections;
}

/** Others may change our maps; this often they are compared with the tables, so that 30 seconds later they are as they were. */
export const AUDIT_INTERVAL_MS = 20_000;

/**
 * They run by themselves: a pod's birth does not wait for thousands of services, and a backend that ends is not used while pods are
 * born.
 */
export function startServiceLoops(deps: ServiceLoopsDeps, settings: LbSettings, config: { readonly healthChecks: boolean }): ServiceLoops {
  const { datapath, services } = deps;
  const scope = new AsyncDisposableStack();
  const { services: slots, backends, reverseNat, sourceRanges, affinityMatch, maglev: map } = datapath.maps;
  const { algorithm, mode, externalClusterIp, maglevSize } = settings;
  const maps = createServiceTarget(
    { services: slots, backends, reverseNat, sourceRanges, affinityMatch },
    createMaglevTables({ map, expedite: datapath.expedite }, maglevSize),
    { algorithm, mode, externalClusterIp, maglevSize, place: services.place },
  );
  const frontends = scope.use(
    createReconciler(deps, { name: "services", table: services.tables.frontends, target: maps, pruneIntervalMs: AUDIT_INTERVAL_MS }),
  );
  // Before the frontends: who is left out of a redirect is never redirected.
  const skips = createRedirectSkips({ ...deps, frontends: services.tables.frontends });
  const target = createSkipTarget(datapath.maps.skipLb);
  const skipped = scope.use(
    createReconciler(deps, { name: "redirect-skips", table: skips.table, target, pruneIntervalMs: AUDIT_INTERVAL_MS }),
  );
  const pipeline = scope.use(startPipeline(deps, [services.step, skips.step, skipped, frontends]));
  scope.use(startReconciler(deps, { name: "backends", table: services.tables.backends, target: deps.stale }));
  if (config.healthChecks) {
    const checks = scope.use(createHealthChecks());
    scope.use(startReconciler(deps, { name: "health-checks", table: services.tables.services, target: checks }));
  }
  return { pipeline, maps, frontends, stale: deps.stale, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}
