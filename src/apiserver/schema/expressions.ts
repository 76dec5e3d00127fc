import { type Cause, cause } from "../errors.ts";
import { asArray, isObject } from "../object.ts";
import { isCidr } from "./constraints.ts";
import type { Schema } from "./schema.ts";

/** One of `x-kubernetes-validations`: a CEL expression over `self`, and what to say when it is false. */
export interface Expression {
  readonly rule: string;
  readonly message?: string;
}

const numberOf = (value: unknown, field: string): number => (isObject(value) ? Number(value[field]) : Number.NaN);

/**
 * The expressions of the definitions that come with this server, by their text. There is no CEL here: an expression of anybody else's definition
 * is kept and shown, but not evaluated.
 */
const KNOWN: Readonly<Record<string, (self: unknown) => boolean>> = {
  "self.start < self.end": (self) => !(numberOf(self, "start") >= numberOf(self, "end")),
  "isCIDR(self)": (self) => typeof self === "string" && isCidr(self),
  "self.action == 'Accept' || !self.to.exists(peer, has(peer.domainNames))": (self) =>
    !isObject(self) || self.action === "Accept" || !asArray(self.to).some((peer) => isObject(peer) && peer.domainNames !== undefined),
};

/** Whether this server evaluates the expression. */
export function isKnown({ rule }: Expression): boolean {
  return Object.hasOwn(KNOWN, rule);
}

/** What the expressions of a schema have against a value. */
export function checkExpressions(schema: Schema, value: unknown, path: string): Cause[] {
  return (schema["x-kubernetes-validations"] ?? []).flatMap((one) => {
    if (!isKnown(one) || KNOWN[one.rule]?.(value) !== false) return [];
    const shown = isObject(value) ? "object" : value;
    return [cause.invalid(path, shown, one.message ?? `failed rule: ${one.rule}`)];
  });
}
