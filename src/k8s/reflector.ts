import { createBackoff, sleep } from "#runtime/backoff.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Cluster, isForbidden, isNotFound, KubeError, type ListOptions } from "./client.ts";
import type { Resource } from "./resources.ts";
import type { KubeObject } from "./types.ts";
import { watchEvents } from "./watch.ts";

/** Where the objects go. Calls never overlap and come in the server's order. */
export interface ReflectorHandler<T> {
  /** Everything there is now: what is not in the list is gone. After each (re-)list. */
  replace(objects: readonly T[]): void;
  upsert(object: T): void;
  remove(object: T): void;
}

export interface Reflector extends AsyncDisposable {
  /** Resolves after the first list was handed over. */
  readonly synced: Promise<void>;
}

/**
 * Which objects, and whether the kind may be missing for good, or kept from us: then we go on as if there were none, and ask for it now and then.
 * That it is kept from us is a warning and a degraded health: what its objects would forbid is not forbidden.
 */
export interface ReflectorOptions extends ListOptions {
  readonly optional?: boolean;
}

export interface ReflectorDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
  /** Hears of kinds that we may not read, as `k8s-PLURAL`. */
  readonly health?: Health;
}

/**
 * Keeps a handler up to date with a collection: list, then watch from there, for ever. A broken or ended watch is resumed
 * from the last version seen; a version that is too old (410) or a failed list leads to a new list, with back-off.
 */
export function startReflector<T extends KubeObject>(
  deps: ReflectorDeps,
  resource: Resource<T>,
  options: ReflectorOptions,
  handler: ReflectorHandler<T>,
): Reflector {
  const controller = new AbortController();
  const { promise: synced, resolve } = Promise.withResolvers<void>();
  const done = run(deps, resource, options, handler, controller.signal, resolve);
  return {
    synced,
    async [Symbol.asyncDispose]() {
      controller.abort();
      await done;
    },
  };
}

async function run<T extends KubeObject>(
  deps: ReflectorDeps,
  resource: Resource<T>,
  { optional = false, ...options }: ReflectorOptions,
  handler: ReflectorHandler<T>,
  signal: AbortSignal,
  onSynced: () => void,
): Promise<void> {
  const { cluster, log } = deps;
  const backoff = createBackoff({ initial: 50, max: 5_000 });
  const access = createAccess(deps, resource, optional);
  let version: string | undefined;
  /** List when there is nothing to resume from, then follow one watch to its end. */
  const follow = async () => {
    if (version === undefined) {
      const list = await cluster.list(resource, options);
      handler.replace(list.items);
      version = list.resourceVersion;
      access.granted();
      onSynced();
    }
    let quiet = true;
    for await (const event of watchEvents(cluster, resource, version, options, signal)) {
      quiet = false;
      version = event.object.metadata.resourceVersion ?? version;
      if (event.type === "DELETED") handler.remove(event.object);
      else if (event.type !== "BOOKMARK") handler.upsert(event.object);
      backoff.reset();
    }
    // A server that ends watches as soon as they start must not be asked in a tight loop.
    if (quiet) await sleep(backoff.next(), signal);
  };
  while (!signal.aborted) {
    try {
      await follow();
    } catch (thrown) {
      if (signal.aborted) return;
      const [missing, forbidden] = [isNotFound(thrown), access.isRefusal(thrown)];
      // What was read stays; when we may read again, it is all listed anew.
      if (isTooOld(thrown) || forbidden) version = undefined;
      if (optional && (missing || forbidden)) onSynced();
      const wait = retryAfter(backoff.next(), missing && !optional);
      log.debug("watch ended, resuming", { resource: resource.plural, error: errorMessage(thrown), retryMs: Math.round(wait) });
      await sleep(wait, signal);
    }
  }
}

/** Looks at errors, and says it once when the server does not let us read a kind, and once when it does again. What was read before stays in force. */
function createAccess(
  { log, health }: ReflectorDeps,
  { plural, group }: Pick<Resource<KubeObject>, "plural" | "group">,
  optional: boolean,
) {
  const name = group === "" ? plural : `${plural}.${group}`;
  let isRefused = false;
  return {
    isRefusal(thrown: unknown): boolean {
      if (!isForbidden(thrown)) return false;
      const error = errorMessage(thrown);
      const until = optional ? "going on without them: no new one has an effect" : "waiting for them";
      const message = `may not list or watch ${name}, ${until} until our ClusterRole allows it: ${error}`;
      health?.set(`k8s-${plural}`, "degraded", message);
      if (!isRefused) log.warn("objects are kept from us", { resource: name, optional, error });
      isRefused = true;
      return true;
    },
    granted() {
      if (!isRefused) return;
      isRefused = false;
      health?.set(`k8s-${plural}`, "ok");
      log.info("objects are no longer kept from us", { resource: name });
    },
  };
}

/** A kind that is not defined yet will be in a moment: somebody is installing the cluster. */
function retryAfter(milliseconds: number, isAwaited: boolean): number {
  return isAwaited ? Math.min(milliseconds, 300) : milliseconds;
}

/** 410: the version was compacted away; 504: it is newer than anything the server has, so the server is another one now. */
function isTooOld(thrown: unknown): boolean {
  return thrown instanceof KubeError && (thrown.status === 410 || thrown.status === 504);
}
