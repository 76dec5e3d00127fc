import { notFound } from "../errors.ts";
import { type KubeObject, objectKey } from "../object.ts";
import { fromStorage, type Resource } from "../resources/resource.ts";
import type { Core } from "./core.ts";

/** The object, in the resource's version. Throws 404. */
export function getObject(core: Core, resource: Resource, namespace: string | undefined, name: string): KubeObject {
  const object = core.store.get(resource.storage, objectKey(resource.namespaced ? namespace : undefined, name));
  if (!object) throw notFound(resource, name);
  return fromStorage(resource, object);
}
