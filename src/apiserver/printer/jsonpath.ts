import { isObject } from "../object.ts";

/**
 * Evaluates the JSONPath subset of CRDs' printer columns: `.a.b`, `['a.b/c']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`.
 * Returns all values found; a path that cannot be read finds nothing.
 */
export function evaluatePath(document: unknown, path: string): readonly unknown[] {
  const inner = path.replace(/^\{(.*)\}$/s, "$1").replace(/^\$/, "");
  let found: readonly unknown[] = [document];
  for (const step of splitSteps(inner)) found = found.flatMap((value) => take(value, step));
  return found;
}

const STEP =
  /\.?\[\?\(@\.([^=\s)]+)\s*==\s*(?:"([^"]*)"|'([^']*)'|([^)\s]+))\s*\)\]|\[(\d+|\*)\]|\['([^']*)'\]|\["([^"]*)"\]|\.((?:\\.|[^.[\]])+)/g;

interface Step {
  readonly key?: string;
  readonly index?: number;
  readonly all?: true;
  readonly filter?: { readonly path: readonly string[]; readonly equals: string };
}

function splitSteps(path: string): Step[] {
  return [...path.matchAll(STEP)].map((match): Step => {
    const [, filterPath, double, single, bare, position, quoted, quoted2, plain] = match;
    if (filterPath !== undefined) return { filter: { path: filterPath.split("."), equals: double ?? single ?? bare ?? "" } };
    if (position === "*") return { all: true };
    if (position !== undefined) return { index: Number(position) };
    const key = quoted ?? quoted2 ?? plain?.replaceAll("\\", "") ?? "";
    return key === "*" ? { all: true } : { key };
  });
}

function take(value: unknown, step: Step): readonly unknown[] {
  if (step.key !== undefined) return isObject(value) && Object.hasOwn(value, step.key) ? [value[step.key]] : [];
  if (step.all) return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
  if (!Array.isArray(value)) return [];
  if (step.index !== undefined) return step.index < value.length ? [value[step.index]] : [];
  const { path = [], equals = "" } = step.filter ?? {};
  return value.filter((item) => String(path.reduce((here: unknown, key) => (isObject(here) ? here[key] : undefined), item)) === equals);
}
