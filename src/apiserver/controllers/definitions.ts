import type { Core } from "../operations/core.ts";

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";

/** Serves what the stored CustomResourceDefinitions define, now and after every change of them. */
export function startDefinitions(core: Core): Disposable {
  let revision = core.store.revision;
  for (const definition of core.store.list(CRDS)) core.registry.define(definition);
  return core.store.subscribe(CRDS, () => {
    for (const change of core.store.since(CRDS, revision) ?? []) {
      if (change.type === "DELETED") core.registry.undefine(change.object.metadata.name);
      else core.registry.define(change.object);
      revision = change.revision;
    }
  });
}
