import type { Cause } from "../errors.ts";
import type { KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";

/** What a kind does beyond its schema. Objects are mutable here and in their stored form. */
export interface Rules {
  /** First step of an update: clears what the object kept from `before` though it may not have it any more. */
  drop?(object: KubeObject, before: KubeObject): void;
  /** Sets what the author left out. Idempotent; runs on every write. */
  defaults?(object: KubeObject, core: Core): void;
  /** Every rule that the object breaks; `before` is absent when it is created. */
  validate?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
  /** Last step before storing: allocations and what depends on other objects. Not for writes of a subresource. */
  prepare?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
}
