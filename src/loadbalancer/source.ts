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

/** `changed` is told of every object that came, went or was replaced; what is replaced goes first. */
export function createSource<T extends Named>(changed: (object: T, gone: boolean) => void): Source<T> {
  const objects = new Map<string, T>();
  const upsert = (object: T) => {
    const before = objects.get(objectKey(object));
    objects.set(objectKey(object), object);
    if (before) changed(before, true);
    changed(object, false);
  };
  const remove = (object: T) => {
    const before = objects.get(objectKey(object));
    if (before === undefined) return;
    objects.delete(objectKey(object));
    changed(before, true);
  };
  return {
    objects,
    upsert,
    remove,
    replace(list) {
      const listed = new Set(list.map(objectKey));
      for (const [key, object] of [...objects]) if (!listed.has(key)) remove(object);
      for (const object of list) upsert(object);
    },
  };
}

/** An object without a namespace is of the default one. */
export function namespaceOf({ metadata }: Named): string {
  return metadata.namespace ?? "default";
}

/** `namespace/name`. */
export function objectKey(object: Named): string {
  return `${namespaceOf(object)}/${object.metadata.name}`;
}
