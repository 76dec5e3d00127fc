import { errorMessage } from "#runtime/errors.ts";
import { ApiError } from "./errors.ts";
import type { KubeObject } from "./object.ts";
import type { Core, DeleteOptions, WriteOptions } from "./operations/core.ts";
import { createObject } from "./operations/create.ts";
import { deleteObject } from "./operations/delete.ts";
import { listObjects } from "./operations/list.ts";
import { type PatchType, patchObject } from "./operations/patch.ts";
import { updateObject } from "./operations/update.ts";
import type { Resource } from "./resources/resource.ts";
import { type ObjectMatcher, parseSelectors } from "./selectors.ts";

export interface Selection {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: T;
  readonly previous?: T;
}

export interface WatchOptions<T> extends Selection {
  onEvent(event: WatchEvent<T>): void;
  /** Called once, after the last object that existed when the watch began. */
  onSynced?(): void;
}

/** The API without HTTP, for controllers and kubelets of this process. See the README. */
export interface LocalClient {
  get<T = KubeObject>(resource: string, name: string, namespace?: string): T | undefined;
  list<T = KubeObject>(resource: string, selection?: Selection): { readonly items: readonly T[]; readonly resourceVersion: string };
  create<T = KubeObject>(resource: string, object: object, options?: WriteOptions): T;
  update<T = KubeObject>(resource: string, object: object, options?: WriteOptions): T;
  patch<T = KubeObject>(
    resource: string,
    name: string,
    namespace: string | undefined,
    patch: unknown,
    options?: WriteOptions & { readonly type?: PatchType; readonly force?: boolean },
  ): T;
  apply<T = KubeObject>(
    resource: string,
    object: object,
    options: WriteOptions & { readonly fieldManager: string; readonly force?: boolean },
  ): T;
  delete(resource: string, name: string, namespace?: string, options?: DeleteOptions): void;
  watch<T = KubeObject>(resource: string, options: WatchOptions<T>): Disposable;
}

interface Named {
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
}

/** The client's own writes are refused, not pruned, when they have fields that do not exist. */
const STRICT = { fieldValidation: "Strict", fieldManager: "cilia-lab" } as const;

export function createLocalClient(core: Core): LocalClient {
  const find = (name: string): Resource => {
    const resource = core.registry.named(name);
    if (!resource) throw new ApiError(404, "NotFound", `the server has no resource ${JSON.stringify(name)}`);
    return resource;
  };
  const placeOf = (object: object) => {
    const { name = "", namespace } = (object as Named).metadata ?? {};
    return { name, namespace };
  };
  return {
    get: <T>(resource: string, name: string, namespace?: string) =>
      core.store.get(find(resource).storage, namespace ? `${namespace}/${name}` : name) as T | undefined,
    list: <T>(resource: string, selection: Selection = {}) => {
      const { items, resourceVersion } = listObjects(core, find(resource), selection);
      return { items: items as readonly T[], resourceVersion };
    },
    create: <T>(resource: string, object: object, options: WriteOptions = {}) =>
      createObject(core, find(resource), placeOf(object).namespace, object, { ...STRICT, ...options }) as T,
    update<T>(resource: string, object: object, options: WriteOptions = {}) {
      const { name, namespace } = placeOf(object);
      return updateObject(core, find(resource), namespace, name, object, { ...STRICT, ...options }) as T;
    },
    patch<T>(
      resource: string,
      name: string,
      namespace: string | undefined,
      patch: unknown,
      options: WriteOptions & { readonly type?: PatchType } = {},
    ) {
      const { type = "merge", ...rest } = options;
      return patchObject(core, find(resource), { namespace, name }, type, patch, { ...STRICT, ...rest }).object as T;
    },
    apply<T>(resource: string, object: object, options: WriteOptions & { readonly force?: boolean }) {
      return patchObject(core, find(resource), placeOf(object), "apply", object, { ...STRICT, ...options }).object as T;
    },
    delete(resource, name, namespace, options = {}) {
      deleteObject(core, find(resource), namespace, name, options);
    },
    watch: <T>(resource: string, options: WatchOptions<T>) => watch(core, find(resource), options as WatchOptions<unknown>),
  };
}

/** Delivers in microtasks, so that a handler never runs inside of a write, its own or another's. */
function watch(core: Core, resource: Resource, options: WatchOptions<unknown>): Disposable {
  const { storage } = resource;
  const matches = parseSelectors(options.labelSelector, options.fieldSelector) ?? (() => true);
  const initial = core.store.list(storage, options.namespace).filter((object) => matches(object));
  let revision = core.store.revision;
  let state: "starting" | "idle" | "scheduled" | "closed" = "starting";

  const deliver = (event: WatchEvent<KubeObject>) => {
    try {
      options.onEvent(event);
    } catch (thrown) {
      core.log.error("a watch handler failed", { resource: storage, object: event.object.metadata.name, error: errorMessage(thrown) });
    }
  };
  const isClosed = () => state === "closed";
  const drain = () => {
    if (isClosed()) return;
    state = "idle";
    const changes = core.store.since(storage, revision) ?? [];
    for (const change of changes) {
      revision = change.revision;
      const event = selectedEvent(change, matches, options.namespace);
      if (event) deliver(event);
      if (isClosed()) return;
    }
  };
  const subscription = core.store.subscribe(storage, () => {
    if (state !== "idle") return;
    state = "scheduled";
    queueMicrotask(drain);
  });
  queueMicrotask(() => {
    for (const object of initial) if (!isClosed()) deliver({ type: "ADDED", object });
    if (isClosed()) return;
    options.onSynced?.();
    drain();
  });
  return {
    [Symbol.dispose]() {
      state = "closed";
      subscription[Symbol.dispose]();
    },
  };
}

/** What a change means to a watcher with a selector; undefined when it means nothing. */
function selectedEvent(
  change: { readonly type: WatchEvent<KubeObject>["type"]; readonly object: KubeObject; readonly previous?: KubeObject },
  matches: ObjectMatcher,
  namespace: string | undefined,
): WatchEvent<KubeObject> | undefined {
  if (namespace && change.object.metadata.namespace !== namespace) return undefined;
  const { object, previous } = change;
  const before = previous !== undefined && matches(previous);
  const after = change.type !== "DELETED" && matches(object);
  if (!before && !after) return undefined;
  const type = before ? (after ? "MODIFIED" : "DELETED") : "ADDED";
  return previous && before ? { type, object, previous } : { type, object };
}
