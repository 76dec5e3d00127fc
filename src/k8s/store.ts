import type { ReflectorHandler } from "./reflector.ts";
import type { KubeObject } from "./types.ts";

/** `namespace/name`, or `name` for a kind without namespaces. */
export function objectKey(object: KubeObject): string {
  return object.metadata.namespace === undefined ? object.metadata.name : `${object.metadata.namespace}/${object.metadata.name}`;
}

/** The latest state of a collection, by `objectKey`. */
export interface ObjectStore<T extends KubeObject> extends ReflectorHandler<T> {
  readonly objects: ReadonlyMap<string, T>;
}

/** A store for a reflector. `onChange` gets each object that came, changed or (with `gone`) went, after the store has it. */
export function createStore<T extends KubeObject>(onChange: (object: T, gone: boolean) => void = () => undefined): ObjectStore<T> {
  const objects = new Map<string, T>();
  const upsert = (object: T) => {
    const before = objects.get(objectKey(object));
    if (before && before.metadata.resourceVersion === object.metadata.resourceVersion && object.metadata.resourceVersion !== undefined)
      return;
    objects.set(objectKey(object), object);
    onChange(object, false);
  };
  const remove = (object: T) => {
    if (objects.delete(objectKey(object))) onChange(object, true);
  };
  return {
    objects,
    upsert,
    remove,
    replace(list) {
      const keys = new Set(list.map(objectKey));
      for (const object of [...objects.values()]) if (!keys.has(objectKey(object))) remove(object);
      for (const object of list) upsert(object);
    },
  };
}
