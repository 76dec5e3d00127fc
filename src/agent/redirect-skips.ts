import { type Endpoint, podKey } from "#endpoint/endpoint.ts";
import { createSkips, type PodPlace, type SkipRow } from "#loadbalancer/skips.ts";
import type { Frontend } from "#loadbalancer/types.ts";
import type { Step } from "#reconciler/pipeline.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";
import { netnsCookie, openNetns } from "#sys/netns.ts";

export interface RedirectSkipsDeps {
  readonly db: Database;
  readonly log: Logger;
  readonly frontends: Table<Frontend>;
  readonly endpoints: Table<Endpoint>;
}

/** Frontends of local redirects and the pods of this node → the pods that are not redirected. Before the frontends' reconciler. */
export function createRedirectSkips({ db, log, frontends, endpoints }: RedirectSkipsDeps): {
  readonly table: Table<SkipRow>;
  readonly step: Step;
} {
  const placeOf = (pod: string): PodPlace | undefined => {
    const [row] = endpoints.by("pod", pod);
    if (row === undefined) return undefined;
    try {
      using netns = openNetns(row.interface.netns);
      return { netnsCookie: netnsCookie(netns), ifindex: row.interface.index };
    } catch (thrown) {
      // It went meanwhile: so will its endpoint.
      log.debug("pod has no network namespace", { pod, error: errorMessage(thrown) });
      return undefined;
    }
  };
  const skips = createSkips(db, { frontends, placeOf });
  const listed = skips.expect("frontends and endpoints");
  const changed = { frontends: frontends.observe(), endpoints: endpoints.observe() };
  return {
    table: skips.table,
    step: {
      name: "redirect-skips",
      onWork(fn) {
        changed.frontends.onReady(fn);
        changed.endpoints.onReady(fn);
      },
      run() {
        const isWhole = frontends.isInitialized && endpoints.isInitialized;
        const pods = changed.endpoints
          .take()
          .flatMap(({ row, previous }) => [row, previous].flatMap((one) => (one ? podKey(one.pod) : [])));
        const addresses = changed.frontends
          .take()
          .flatMap(({ key, row, previous }) => (row?.skippedBy || previous?.skippedBy ? [String(key)] : []));
        if (pods.length > 0 || addresses.length > 0) skips.refresh(addresses, new Set(pods));
        if (isWhole) listed();
      },
    },
  };
}
