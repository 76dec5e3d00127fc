import { type ServiceName, serviceName } from "./types.ts";

/** An object of Kubernetes. */
export interface Named {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** One kind of objects: told what is there and what goes. */
export interface Source<T> {
  /** By `namespace/name`. */
  readonly objects: ReadonlyMap<string, T>;
  /** Everything there is. */
  replace(objects: readonly T[]): void;
  upsert(object: T): void;
  remove(object: T): void;
}

/** `changed` is told of every object that came, went or was replaced, and of its key; what is replaced goes first. */
export function createSource<T extends Named>(changed: (object: T, key: string, gone: boolean) => void): Source<T> {
  const objects = new Map<string, T>();
  const upsert = (object: T, key = objectKey(object)) => {
    const before = objects.get(key);
    objects.set(key, object);
    if (before) changed(before, key, true);
    changed(object, key, false);
  };
  const remove = (key: string) => {
    const before = objects.get(key);
    if (before === undefined) return;
    objects.delete(key);
    changed(before, key, true);
  };
  return {
    objects,
    upsert: (object) => upsert(object),
    remove: (object) => remove(objectKey(object)),
    replace(list) {
      const listed = new Map<string, T>();
      for (const object of list) listed.set(objectKey(object), object);
      for (const key of objects.keys()) if (!listed.has(key)) remove(key);
      for (const [key, object] of listed) upsert(object, key);
    },
  };
}

/** An object without a namespace is of the default one. */
export function namespaceOf({ metadata }: Named): string {
  return metadata.namespace ?? "default";
}

export function nameOf(object: Named): ServiceName {
  return serviceName(namespaceOf(object), object.metadata.name);
}

/** `namespace/name`. */
export function objectKey(object: Named): string {
  return `${namespaceOf(object)}/${object.metadata.name}`;
}
