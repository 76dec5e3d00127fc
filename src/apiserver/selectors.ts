import { badRequest } from "./errors.ts";
import { at, isObject, type JsonObject, type KubeObject } from "./object.ts";

export type LabelMatcher = (labels: Readonly<Record<string, string>>) => boolean;
export type ObjectMatcher = (object: KubeObject) => boolean;

const NONE: Readonly<Record<string, string>> = Object.freeze({});

/**
 * Reads a label selector as in `?labelSelector=`: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
 * Undefined when it selects everything. Throws 400 naming the part that is wrong.
 */
export function parseLabelSelector(text: string | undefined | null): LabelMatcher | undefined {
  if (!text?.trim()) return undefined;
  const parts = splitOutsideParentheses(text).map((part) => parseRequirement(part.trim(), text));
  return (labels) => parts.every((matches) => matches(labels));
}

function splitOutsideParentheses(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}

const NAME = "[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?";
const SET = new RegExp(`^(${NAME})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUAL = new RegExp(`^(${NAME})\\s*(==|=|!=|>|<)\\s*([-A-Za-z0-9_.]*)$`);
const EXISTS = new RegExp(`^(!?)\\s*(${NAME})$`);

function parseRequirement(part: string, whole: string): LabelMatcher {
  const set = SET.exec(part);
  if (set) {
    const [, key = "", , operator, list = ""] = set;
    const values = new Set(list.split(",").map((value) => value.trim()));
    return operator === "in"
      ? (labels) => labels[key] !== undefined && values.has(labels[key])
      : (labels) => labels[key] === undefined || !values.has(labels[key]);
  }
  const equal = EQUAL.exec(part);
  if (equal) {
    const [, key = "", , operator, value = ""] = equal;
    if (operator === "!=") return (labels) => labels[key] !== value;
    if (operator === ">") return (labels) => Number(labels[key] ?? Number.NaN) > Number(value);
    if (operator === "<") return (labels) => Number(labels[key] ?? Number.NaN) < Number(value);
    return (labels) => labels[key] === value;
  }
  const exists = EXISTS.exec(part);
  if (!exists) throw badRequest(`unable to parse requirement ${JSON.stringify(part)} of label selector ${JSON.stringify(whole)}`);
  const [, negated, key = ""] = exists;
  return negated ? (labels) => labels[key] === undefined : (labels) => labels[key] !== undefined;
}

/**
 * Reads a field selector: `metadata.name=x,status.phase!=Running`. Any scalar field may be named; an absent one counts
 * as the empty string, as in kube-apiserver.
 */
export function parseFieldSelector(text: string | undefined | null): ObjectMatcher | undefined {
  if (!text?.trim()) return undefined;
  const parts = text.split(",").map((part) => {
    const match = /^\s*([A-Za-z0-9_.[\]-]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part);
    if (!match) throw badRequest(`invalid field selector ${JSON.stringify(text)}: cannot read ${JSON.stringify(part)}`);
    const [, field = "", operator, value = ""] = match;
    const path = field.split(".");
    return { path, value, negated: operator === "!=" };
  });
  return (object) => parts.every(({ path, value, negated }) => (scalarAt(object, path) === value) !== negated);
}

function scalarAt(object: KubeObject, path: readonly string[]): string {
  const value = at(object, ...path);
  return value === undefined || value === null || typeof value === "object" ? "" : String(value);
}

/** One matcher of both selectors; undefined when everything matches. */
export function parseSelectors(labels: string | undefined | null, fields: string | undefined | null): ObjectMatcher | undefined {
  const byLabel = parseLabelSelector(labels);
  const byField = parseFieldSelector(fields);
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
