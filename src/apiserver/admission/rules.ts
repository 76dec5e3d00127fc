import type { Cause } from "../errors.ts";
import type { KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";

/** What a kind does beyond its schema. Objects are mutable here and in their stored form. */
export interface Rules {
  /** Sets what the author left out. Idempotent; runs on every write. */
  defaults?(object: KubeObject, core: Core): void;
  /** Every rule that the object breaks; `before` is absent when it is created. */
  validate?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
  /** Last step before storing: allocations and what depends on other objects. */
  prepare?(object: KubeObject, before: KubeObject | undefined, core: Core): Cause[];
}

const NONE: Rules = {};
const table = new Map<string, Rules>();

/** The rules of a resource, by its key in the store. */
export function rulesOf(storage: string): Rules {
  return table.get(storage) ?? NONE;
}
