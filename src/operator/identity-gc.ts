import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CILIUM_IDENTITIES } from "#k8s/resources.ts";
import type { CiliumEndpoint, CiliumIdentity } from "#k8s/types.ts";
import type { Logger } from "#runtime/logger.ts";

/** How long each unused identity has been so, from one collection to the next. */
export interface IdentityGc {
  /** Deletes identities that were unused since before the time-out. Returns how many. */
  collect(identities: Iterable<CiliumIdentity>, endpoints: Iterable<CiliumEndpoint>): Promise<number>;
}

export interface IdentityGcOptions {
  /** An identity must be unused for this long, milliseconds: an agent that just allocated it has no endpoint object yet. */
  readonly timeoutMs: number;
  readonly now?: () => number;
}

export function createIdentityGc(deps: { readonly cluster: Cluster; readonly log: Logger }, options: IdentityGcOptions): IdentityGc {
  const now = options.now ?? Date.now;
  const unusedSince = new Map<string, number>();
  return {
    async collect(identities, endpoints) {
      const used = new Set([...endpoints].map((endpoint) => String(endpoint.status?.identity?.id)));
      const known = [...identities];
      const unused = known.filter(({ metadata }) => !used.has(metadata.name));
      const names = new Set(unused.map(({ metadata }) => metadata.name));
      for (const name of [...unusedSince.keys()]) if (!names.has(name)) unusedSince.delete(name);
      let deleted = 0;
      for (const { metadata } of unused) {
        const since = unusedSince.get(metadata.name) ?? now();
        unusedSince.set(metadata.name, since);
        if (now() - since < options.timeoutMs) continue;
        if (await remove(deps.cluster, metadata.name)) deleted += 1;
        unusedSince.delete(metadata.name);
      }
      if (deleted > 0) deps.log.info("deleted unused identities", { deleted });
      return deleted;
    },
  };
}

async function remove(cluster: Cluster, name: string): Promise<boolean> {
  try {
    await cluster.delete(CILIUM_IDENTITIES, { name });
    return true;
  } catch (thrown) {
    if (isNotFound(thrown) || isConflict(thrown)) return false;
    throw thrown;
  }
}
