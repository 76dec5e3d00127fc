import { asArray, asObject, isObject } from "../object.ts";

/** A LabelSelector, or a plain map of labels, in the form that `-l` takes; `<none>` when it is empty. */
export function selectorText(selector: unknown): string {
  if (!isObject(selector)) return "<none>";
  const structured = isObject(selector.matchLabels) || Array.isArray(selector.matchExpressions);
  const labels = Object.entries(structured ? asObject(selector.matchLabels) : selector).map(([key, value]) => `${key}=${String(value)}`);
  const expressions = asArray(selector.matchExpressions).map((each) => expressionText(asObject(each)));
  const all = [...labels.sort(), ...expressions];
  return all.length > 0 ? all.join(",") : "<none>";
}

function expressionText({ key, operator, values }: Record<string, unknown>): string {
  const list = asArray(values).map(String).sort().join(",");
  if (operator === "In") return `${String(key)} in (${list})`;
  if (operator === "NotIn") return `${String(key)} notin (${list})`;
  return operator === "Exists" ? String(key) : `!${String(key)}`;
}
