import type { KubeObject } from "../object.ts";
import type { Resource } from "../resources/resource.ts";

/** Records in managedFields who wrote which fields. */
export function recordUpdate(
  _resource: Resource,
  _before: KubeObject | undefined,
  _after: KubeObject,
  _manager: string,
  _now: Date,
  _subresource?: string,
): void {}
