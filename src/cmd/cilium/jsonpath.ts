import { CodedError } from "#runtime/errors.ts";

export class JsonPathError extends CodedError {}

type Step =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "all" }
  | { readonly kind: "recursive" }
  | { readonly kind: "filter"; readonly path: readonly Step[]; readonly operator: string; readonly value: string };

/**
 * Evaluates a template of client-go's JSONPath dialect: text with `{…}` expressions, fields with dashes (`.status.policy-revision`),
 * `['quoted']`, indexes (negative ones count from the end), `[*]`, `..`, `[?(@.x=="y")]`, `{"\n"}` and `{range …}{end}`. Results of one
 * expression are joined by spaces; what does not exist prints nothing. Throws `JsonPathError` on a template it cannot read.
 * Source: Kubernetes documentation, "JSONPath Support".
 */
export function evaluateJsonPath(template: string, value: unknown): string {
  const parts = parseTemplate(template);
  return render(parts, value);
}

type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "path"; readonly steps: readonly Step[] }
  | { readonly kind: "range"; readonly steps: readonly Step[]; readonly body: readonly Part[] };

function render(parts: readonly Part[], value: unknown): string {
  return parts
    .map((part) => {
      if (part.kind === "text") return part.text;
      const found = select(part.steps, [value]);
      return part.kind === "path" ? found.map(formatResult).join(" ") : found.map((item) => render(part.body, item)).join("");
    })
    .join("");
}

function formatResult(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function parseTemplate(template: string): Part[] {
  const tokens = [...template.matchAll(/\{((?:"(?:\\.|[^"])*"|'[^']*'|[^}])*)\}|([^{]+)|(\{)/g)];
  const stack: { readonly steps: readonly Step[]; readonly parts: Part[] }[] = [{ steps: [], parts: [] }];
  const top = () => stack[stack.length - 1] as (typeof stack)[number];
  for (const [, expression, text, broken] of tokens) {
    if (broken !== undefined) throw new JsonPathError("bad-jsonpath", `jsonpath: unclosed action in "${template}"`);
    if (expression === undefined) top().parts.push({ kind: "text", text: text ?? "" });
    else if (expression.trim() === "end") {
      const ended = stack.pop();
      if (!ended || stack.length === 0) throw new JsonPathError("bad-jsonpath", "jsonpath: {end} without {range}");
      top().parts.push({ kind: "range", steps: ended.steps, body: ended.parts });
    } else if (expression.startsWith("range ")) stack.push({ steps: parseSteps(expression.slice(6).trim()), parts: [] });
    else if (expression.startsWith('"')) top().parts.push({ kind: "text", text: JSON.parse(expression) as string });
    else top().parts.push({ kind: "path", steps: parseSteps(expression.trim()) });
  }
  if (stack.length > 1) throw new JsonPathError("bad-jsonpath", "jsonpath: {range} without {end}");
  return top().parts;
}

const STEP =
  /^(?:(\.\.)|\.?\[\s*\?\(\s*@([^=!<>]*?)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([^)\s]+))\s*\)\s*\]|\.?\[\s*(?:'([^']*)'|"([^"]*)"|(-?\d+)|(\*))\s*\]|\.\*|\.?((?:\\.|[^.[\]{}\s])+))/;

function parseSteps(path: string): Step[] {
  const steps: Step[] = [];
  let rest = path.startsWith("$") || path.startsWith("@") ? path.slice(1) : path;
  if (rest === ".") return [];
  while (rest !== "") {
    const match = STEP.exec(rest);
    if (!match || match[0] === "") throw new JsonPathError("bad-jsonpath", `jsonpath: cannot read "${rest}" in "${path}"`);
    steps.push(stepOf(match));
    rest = rest.slice(match[0].length);
  }
  return steps;
}

function stepOf(match: RegExpExecArray): Step {
  const [whole, recursive, filter, operator, double, single, bare, quoted, quoted2, index, star, name] = match;
  if (recursive) return { kind: "recursive" };
  if (operator !== undefined) return { kind: "filter", path: parseSteps(filter ?? ""), operator, value: double ?? single ?? bare ?? "" };
  if (index !== undefined) return { kind: "index", index: Number(index) };
  if (star !== undefined || whole === ".*") return { kind: "all" };
  return { kind: "field", name: quoted ?? quoted2 ?? (name ?? "").replaceAll(/\\(.)/g, "$1") };
}

function select(steps: readonly Step[], values: readonly unknown[]): unknown[] {
  let current = [...values];
  for (const step of steps) current = current.flatMap((value) => follow(step, value));
  return current;
}

function follow(step: Step, value: unknown): unknown[] {
  if (typeof value !== "object" || value === null) return step.kind === "recursive" ? [value] : [];
  switch (step.kind) {
    case "field":
      return Object.hasOwn(value, step.name) ? [(value as Record<string, unknown>)[step.name]] : [];
    case "index": {
      const found = Array.isArray(value) ? value.at(step.index) : undefined;
      return found === undefined ? [] : [found];
    }
    case "all":
      return Object.values(value);
    case "recursive":
      return [value, ...Object.values(value).flatMap((inner) => follow(step, inner))];
    case "filter":
      return Object.values(value).filter((item) => {
        const equal = select(step.path, [item]).some((found) => formatResult(found) === step.value);
        return step.operator === "==" ? equal : !equal;
      });
  }
}
