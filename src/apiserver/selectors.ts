import { type LabelMatcher, readLabelSelector } from "#labels/selector-text.ts";
import { badRequest } from "./errors.ts";
import { at, isObject, type JsonObject, type KubeObject } from "./object.ts";

export type ObjectMatcher = (object: KubeObject) => boolean;

const NONE: Readonly<Record<string, string>> = Object.freeze({});

/**
 * Reads a label selector as in `?labelSelector=`: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
 * Undefined when it selects everything. Throws 400 naming the part that is wrong.
 */
export function parseLabelSelector(text: string | undefined | null): LabelMatcher | undefined {
  if (!text?.trim()) return undefined;
  const matcher = readLabelSelector(text);
  if (typeof matcher === "string") throw badRequest(matcher);
  return matcher;
}

/** Whether objects may have a field of this path. */
export type FieldCheck = (path: readonly string[]) => boolean;

/**
 * Reads a field selector: `metadata.name=x,status.phase!=Running`. Any scalar field of the schema may be named, where kube-apiserver
 * has a short list for each kind; an absent one counts as the empty string. Throws 400 for a field that there is not.
 */
export function parseFieldSelector(text: string | undefined | null, hasField: FieldCheck = () => true): ObjectMatcher | undefined {
  if (!text?.trim()) return undefined;
  const parts = text.split(",").map((part) => {
    const match = /^\s*([A-Za-z0-9_.[\]-]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part);
    if (!match) throw badRequest(`invalid field selector ${JSON.stringify(text)}: cannot read ${JSON.stringify(part)}`);
    const [, field = "", operator, value = ""] = match;
    const path = field.split(".");
    if (!hasField(path)) throw badRequest(`field label not supported: ${field}`);
    return { path, value, negated: operator === "!=" };
  });
  return (object) => parts.every(({ path, value, negated }) => (scalarAt(object, path) === value) !== negated);
}

function scalarAt(object: KubeObject, path: readonly string[]): string {
  const value = at(object, ...path);
  return value === undefined || value === null || typeof value === "object" ? "" : String(value);
}

/** One matcher of both selectors; undefined when everything matches. */
export function parseSelectors(
  labels: string | undefined | null,
  fields: string | undefined | null,
  hasField?: FieldCheck,
): ObjectMatcher | undefined {
  const byLabel = parseLabelSelector(labels);
  const byField = parseFieldSelector(fields, hasField);
  if (!byLabel) return byField;
  return (object) => byLabel(object.metadata.labels ?? NONE) && (byField?.(object) ?? true);
}

/** Matches a `LabelSelector` object (`matchLabels`, `matchExpressions`). Null selects nothing, `{}` everything. */
export function matchesLabelSelector(selector: unknown, labels: Readonly<Record<string, string>> = NONE): boolean {
  if (!isObject(selector)) return false;
  for (const [key, value] of Object.entries((selector.matchLabels ?? {}) as JsonObject)) {
    if (labels[key] !== value) return false;
  }
  const expressions = (selector.matchExpressions ?? []) as { key: string; operator: string; values?: string[] }[];
  return expressions.every(({ key, operator, values = [] }) => {
    const value = labels[key];
    if (operator === "In") return value !== undefined && values.includes(value);
    if (operator === "NotIn") return value === undefined || !values.includes(value);
    if (operator === "Exists") return value !== undefined;
    return operator === "DoesNotExist" && value === undefined;
  });
}
