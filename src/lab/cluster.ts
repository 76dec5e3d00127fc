/** What can be asked of a list or watch. */
export interface Query {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: T;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  readonly uid?: string;
}

/**
 * The API server as the lab's controllers and kubelets use it: in the same process, synchronous. Objects are frozen. Failures are
 * errors with the HTTP status as `httpStatus`. Resources are named `pods`, `deployments.apps`. `src/apiserver` implements it.
 */
export interface Cluster {
  get<T>(resource: string, name: string, namespace?: string): T | undefined;
  list<T>(resource: string, query?: Query): { readonly items: readonly T[] };
  create<T>(resource: string, object: object): T;
  update<T>(resource: string, object: object, options?: { readonly subresource?: "status" }): T;
  patch<T>(
    resource: string,
    name: string,
    namespace: string | undefined,
    patch: object,
    options?: { readonly type?: "merge"; readonly subresource?: string },
  ): T;
  delete(resource: string, name: string, namespace?: string, options?: DeleteOptions): void;
  watch<T>(
    resource: string,
    options: Query & { readonly onEvent: (event: WatchEvent<T>) => void; readonly onSynced?: () => void },
  ): Disposable;
}

/** Whether the failure of a call has one of these HTTP statuses. */
export function hasStatus(thrown: unknown, ...statuses: readonly number[]): boolean {
  const { httpStatus } = thrown as { readonly httpStatus?: unknown };
  return typeof httpStatus === "number" && statuses.includes(httpStatus);
}

/** Whether the API server refused the call, whatever for. */
export function isRefusal(thrown: unknown): boolean {
  return typeof (thrown as { readonly httpStatus?: unknown }).httpStatus === "number";
}

/** Runs a call whose object may have gone meanwhile; `undefined` then. */
export function unlessGone<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (thrown) {
    if (hasStatus(thrown, 404)) return undefined;
    throw thrown;
  }
}
