import type { KubeObject } from "../object.ts";
import { builtinResources } from "./builtin.ts";
import { customResources } from "./custom.ts";
import { apiVersionOf, type Resource } from "./resource.ts";

/** All resources that are served at the moment. */
export interface Registry {
  all(): readonly Resource[];
  find(group: string, version: string, resource: string): Resource | undefined;
  /** By `plural[.group]`, in the stored version. */
  named(name: string): Resource | undefined;
  /** By kind; in the version asked for, else any. */
  ofKind(apiVersion: string, kind: string): Resource | undefined;
  /** Serves what the CustomResourceDefinition says, instead of what an older state of it said. */
  define(definition: KubeObject): void;
  undefine(name: string): void;
  /** Counts the changes of the set of resources; for caches of discovery documents. */
  readonly generation: number;
}

export function createRegistry(): Registry {
  const custom = new Map<string, readonly Resource[]>();
  const builtin = builtinResources();
  let generation = 1;
  let all: readonly Resource[] = builtin;
  let byPath = index(all);

  const changed = () => {
    generation++;
    all = [...builtin, ...[...custom.values()].flat()];
    byPath = index(all);
  };
  return {
    all: () => all,
    find: (group, version, resource) => byPath.get(`${group}/${version}/${resource}`),
    named: (name) => all.find((one) => one.storage === name && apiVersionOf(one) === one.storageApiVersion),
    ofKind: (apiVersion, kind) => all.find((one) => one.kind === kind && apiVersionOf(one) === apiVersion),
    define(definition) {
      custom.set(definition.metadata.name, customResources(definition));
      changed();
    },
    undefine(name) {
      if (custom.delete(name)) changed();
    },
    get generation() {
      return generation;
    },
  };
}

const index = (all: readonly Resource[]): Map<string, Resource> =>
  new Map(all.map((one) => [`${one.group}/${one.version}/${one.resource}`, one]));
