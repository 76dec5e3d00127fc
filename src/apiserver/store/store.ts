import { deepFreeze, type KubeObject, objectKey } from "../object.ts";
import { type Change, createHistory, type History } from "./history.ts";
import type { StateFile } from "./sqlite.ts";

/** All objects in memory, every change in the file first, and the last changes of each resource for watchers. */
export interface Store {
  /** The revision of the newest change of any resource. */
  readonly revision: number;
  get(resource: string, key: string): KubeObject | undefined;
  /** The objects of a resource (of one namespace when given), in order of namespace and name. */
  list(resource: string, namespace?: string): readonly KubeObject[];
  /** The list as it was at the revision; undefined when the history no longer reaches back that far. */
  listAt(resource: string, revision: number, namespace?: string): readonly KubeObject[] | undefined;
  count(resource: string): number;
  /** Stores the object with the next revision and returns it, frozen. Throws `ApiError` 507/500 and changes nothing when the file cannot be written. */
  put(resource: string, object: KubeObject): KubeObject;
  remove(resource: string, object: KubeObject): KubeObject;
  /** Changes after a revision; undefined when compacted. */
  since(resource: string, revision: number): readonly Change[] | undefined;
  /** Calls `wake` (synchronously, must be cheap and not throw) after each change of the resource. */
  subscribe(resource: string, wake: () => void): Disposable;
}

interface Shelf {
  /** By namespace, then by name; cluster-scoped objects are under "". */
  readonly objects: Map<string, Map<string, KubeObject>>;
  readonly history: History;
  readonly wakers: Set<() => void>;
  /** All objects in order, when somebody has asked for them since the last change. */
  sorted: readonly KubeObject[] | undefined;
  /** The same of single namespaces. */
  readonly sortedIn: Map<string, readonly KubeObject[]>;
}

export interface StoreOptions {
  /** Changes kept per resource for watchers; 2048 by default. */
  readonly history?: number;
}

/** Reads all objects from the file. The file must stay open for as long as the store is used. */
export function createStore(file: StateFile, options: StoreOptions = {}): Store {
  const shelves = new Map<string, Shelf>();
  const start = file.revision;
  let revision = start;

  const shelf = (resource: string): Shelf => {
    const known = shelves.get(resource);
    if (known) return known;
    const history = createHistory(start, options.history ?? 2048);
    const made: Shelf = { objects: new Map(), history, wakers: new Set(), sorted: undefined, sortedIn: new Map() };
    shelves.set(resource, made);
    return made;
  };

  const place = (resource: string, object: KubeObject): KubeObject | undefined => {
    const { objects } = shelf(resource);
    const namespace = object.metadata.namespace ?? "";
    let named = objects.get(namespace);
    if (!named) {
      named = new Map();
      objects.set(namespace, named);
    }
    const before = named.get(object.metadata.name);
    named.set(object.metadata.name, object);
    return before;
  };

  for (const row of file.rows()) place(row.resource, deepFreeze(row.object));

  const record = (resource: string, change: Change) => {
    const here = shelf(resource);
    here.sorted = undefined;
    here.sortedIn.delete(change.object.metadata.namespace ?? "");
    here.history.push(change);
    for (const wake of here.wakers) wake();
  };

  const listIn = (here: Shelf, namespace: string): readonly KubeObject[] => {
    const known = here.sortedIn.get(namespace);
    if (known) return known;
    const sorted = [...(here.objects.get(namespace)?.values() ?? [])].sort(byName);
    here.sortedIn.set(namespace, sorted);
    return sorted;
  };

  const list = (resource: string, namespace?: string): readonly KubeObject[] => {
    const here = shelf(resource);
    if (namespace) return listIn(here, namespace);
    here.sorted ??= [...here.objects.keys()].sort().flatMap((each) => listIn(here, each));
    return here.sorted;
  };

  return {
    get revision() {
      return revision;
    },
    get(resource, key) {
      const slash = key.indexOf("/");
      return shelf(resource)
        .objects.get(key.slice(0, Math.max(slash, 0)))
        ?.get(key.slice(slash + 1));
    },
    list,
    listAt(resource, at, namespace) {
      const later = shelf(resource).history.since(at);
      if (!later) return undefined;
      if (later.length === 0) return list(resource, namespace);
      return undo(list(resource, namespace), later, namespace);
    },
    count: (resource) =>
      shelf(resource)
        .objects.values()
        .reduce((sum, named) => sum + named.size, 0),
    put(resource, object) {
      const next = revision + 1;
      const stored = deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(next) } });
      file.put(resource, stored, next);
      revision = next;
      const previous = place(resource, stored);
      record(resource, previous ? { type: "MODIFIED", revision, object: stored, previous } : { type: "ADDED", revision, object: stored });
      return stored;
    },
    remove(resource, object) {
      const next = revision + 1;
      const last = deepFreeze({ ...object, metadata: { ...object.metadata, resourceVersion: String(next) } });
      file.remove(resource, last, next);
      revision = next;
      const named = shelf(resource).objects.get(object.metadata.namespace ?? "");
      const previous = named?.get(object.metadata.name) ?? object;
      named?.delete(object.metadata.name);
      if (named?.size === 0) shelf(resource).objects.delete(object.metadata.namespace ?? "");
      record(resource, { type: "DELETED", revision, object: last, previous });
      return last;
    },
    since: (resource, at) => shelf(resource).history.since(at),
    subscribe(resource, wake) {
      const { wakers } = shelf(resource);
      wakers.add(wake);
      return { [Symbol.dispose]: () => void wakers.delete(wake) };
    },
  };
}

const byName = (a: KubeObject, b: KubeObject): number => (a.metadata.name < b.metadata.name ? -1 : 1);

function byKey(a: KubeObject, b: KubeObject): number {
  const left = a.metadata.namespace ?? "";
  const right = b.metadata.namespace ?? "";
  if (left !== right) return left < right ? -1 : 1;
  return byName(a, b);
}

/** Takes back the later changes, newest first, to get the list as it was. */
function undo(now: readonly KubeObject[], later: readonly Change[], namespace?: string): readonly KubeObject[] {
  const byName = new Map(now.map((object) => [objectKey(object.metadata.namespace, object.metadata.name), object]));
  for (const change of later.toReversed()) {
    const { metadata } = change.object;
    if (namespace && metadata.namespace !== namespace) continue;
    const key = objectKey(metadata.namespace, metadata.name);
    if (change.previous) byName.set(key, change.previous);
    else byName.delete(key);
  }
  return [...byName.values()].sort(byKey);
}
