import { sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Cluster, isConflict, isNotFound } from "./client.ts";
import { LEASES } from "./resources.ts";
import type { Lease } from "./types.ts";

export interface LeaderOptions {
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Who we are; unique among the candidates. */
  readonly identity: string;
  /** How long a silent leader is still believed; it renews three times in this. */
  readonly leaseSeconds: number;
  readonly now?: () => number;
}

/**
 * Waits until this process holds the Lease, then runs `lead` with a signal that aborts when the Lease is lost or `signal`
 * aborts. Returns after `lead` ended; a lost Lease rejects, since another leader may be at work by then. The Lease is
 * given back at the end, so that the next candidate need not wait for its expiry.
 */
export async function runAsLeader(
  deps: { readonly cluster: Cluster; readonly log: Logger },
  options: LeaderOptions,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const interval = (options.leaseSeconds * 1000) / 3;
  while (!(await tryHold(deps.cluster, options, deps.log))) {
    if (signal.aborted) return;
    await sleep(interval, signal);
  }
  deps.log.info("became leader", { lease: options.name, identity: options.identity });
  const term = new AbortController();
  const renewal = renew(deps, options, interval, AbortSignal.any([signal, term.signal]));
  try {
    await Promise.race([lead(AbortSignal.any([signal, term.signal])), renewal]);
  } finally {
    term.abort();
    await release(deps.cluster, options);
  }
}

async function renew(
  deps: { readonly cluster: Cluster; readonly log: Logger },
  options: LeaderOptions,
  interval: number,
  signal: AbortSignal,
): Promise<void> {
  const now = options.now ?? Date.now;
  let renewed = now();
  while (!signal.aborted) {
    await sleep(interval, signal);
    if (signal.aborted) break;
    if (await tryHold(deps.cluster, options, deps.log)) renewed = now();
    else if (now() - renewed > options.leaseSeconds * 1000) throw new Error(`lost the lease ${options.namespace}/${options.name}`);
  }
  // The leader's own work decides when the term ends.
  await new Promise<never>(() => undefined);
}

/** Takes or renews the Lease. False when somebody else holds it or the API server does not answer. */
async function tryHold(cluster: Cluster, options: LeaderOptions, log: Logger): Promise<boolean> {
  const now = options.now ?? Date.now;
  try {
    const found = await cluster.get(LEASES, options).catch((thrown: unknown) => {
      if (isNotFound(thrown)) return undefined;
      throw thrown;
    });
    if (found && !mayTake(found, options, now())) return false;
    const lease = nextLease(found, options, new Date(now()));
    await (found ? cluster.update(LEASES, lease) : cluster.create(LEASES, lease));
    return true;
  } catch (thrown) {
    if (!isConflict(thrown)) log.warn("cannot renew the lease", { lease: options.name, error: errorMessage(thrown) });
    return false;
  }
}

function mayTake(lease: Lease, options: LeaderOptions, now: number): boolean {
  const { holderIdentity, renewTime, leaseDurationSeconds = options.leaseSeconds } = lease.spec ?? {};
  if (!holderIdentity || holderIdentity === options.identity) return true;
  return now - Date.parse(renewTime ?? "1970-01-01T00:00:00Z") > leaseDurationSeconds * 1000;
}

/** A Lease's times have microseconds (Kubernetes' MicroTime). */
function microTime(time: Date): string {
  return time.toISOString().replace("Z", "000Z");
}

function nextLease(found: Lease | undefined, options: LeaderOptions, now: Date): Lease {
  const metadata = found?.metadata ?? { namespace: options.namespace, name: options.name };
  const renewTime = microTime(now);
  const ours = found?.spec?.holderIdentity === options.identity;
  return {
    metadata,
    spec: {
      holderIdentity: options.identity,
      leaseDurationSeconds: options.leaseSeconds,
      acquireTime: (ours ? found?.spec?.acquireTime : undefined) ?? renewTime,
      renewTime,
      leaseTransitions: (found?.spec?.leaseTransitions ?? 0) + (found && !ours ? 1 : 0),
    },
  };
}

async function release(cluster: Cluster, options: LeaderOptions): Promise<void> {
  try {
    const found = await cluster.get(LEASES, options);
    if (found.spec?.holderIdentity === options.identity) {
      await cluster.update(LEASES, { ...found, spec: { ...found.spec, holderIdentity: "" } });
    }
  } catch {
    // The Lease then simply expires.
  }
}
