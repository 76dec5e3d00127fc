import { parseKey } from "./label.ts";
import type { LabelSet } from "./label-set.ts";

/** How a requirement compares the value of a key. */
export type Operator = "In" | "NotIn" | "Exists" | "DoesNotExist";

/** One condition on a label; source `any` looks at every source. */
export type Requirement = {
  readonly source: string;
  readonly key: string;
  readonly operator: Operator;
  /** Sorted, without repetition; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
};

/** A label selector: all requirements must hold; none at all selects everything. */
export type Selector = { readonly requirements: readonly Requirement[]; readonly text: string };

/** The selector as it stands in Kubernetes objects. */
export type LabelSelectorObject = {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] | undefined }[]
    | undefined;
};

/** Makes a requirement; the key may have a source (`k8s:app`). */
export function requirement(name: string, operator: Operator, values: readonly string[] = []): Requirement {
  const { source, key } = parseKey(name);
  return { source, key, operator, values: values.length < 2 ? values : [...new Set(values)].sort() };
}

/** Makes a selector of requirements; equal ones have equal `text`s. */
export function selectorOf(requirements: readonly Requirement[]): Selector {
  if (requirements.length === 0) return { requirements, text: "<all>" };
  const byText = new Map<string, Requirement>();
  for (const one of requirements) byText.set(formatRequirement(one), one);
  const texts = [...byText.keys()].sort();
  return { requirements: texts.map((text) => byText.get(text) as Requirement), text: texts.join(",") };
}

/** The requirements of a Kubernetes selector that has been checked already. */
export function requirementsOf(object: LabelSelectorObject): Requirement[] {
  return [
    ...Object.entries(object.matchLabels ?? {}).map(([name, value]) => requirement(name, "In", [value])),
    ...(object.matchExpressions ?? []).map(({ key, operator, values }) => requirement(key, operator as Operator, values ?? [])),
  ];
}

/** Writes a requirement in kubectl's notation: `k8s:app=web`, `app in (a,b)`, `!app`. */
export function formatRequirement({ source, key, operator, values }: Requirement): string {
  const name = source === "any" ? key : `${source}:${key}`;
  switch (operator) {
    case "In":
      return values.length === 1 ? `${name}=${values[0]}` : `${name} in (${values.join(",")})`;
    case "NotIn":
      return values.length === 1 ? `${name}!=${values[0]}` : `${name} notin (${values.join(",")})`;
    case "Exists":
      return name;
    case "DoesNotExist":
      return `!${name}`;
  }
}

/** Whether one requirement holds. A missing key satisfies NotIn and DoesNotExist. */
export function holds(one: Requirement, set: LabelSet): boolean {
  const found = set.get(one.source, one.key);
  switch (one.operator) {
    case "In":
      return found !== undefined && one.values.includes(found.value);
    case "NotIn":
      return found === undefined || !one.values.includes(found.value);
    case "Exists":
      return found !== undefined;
    case "DoesNotExist":
      return found === undefined;
  }
}

/** Whether all requirements hold. */
export function matches(selector: Selector, set: LabelSet): boolean {
  return selector.requirements.every((one) => holds(one, set));
}

/** The requirements that do not hold, in words: `needs app=frontend, has app=attacker`. */
export function unmet(selector: Pick<Selector, "requirements">, set: LabelSet): string[] {
  return selector.requirements
    .filter((one) => !holds(one, set))
    .map((one) => {
      const found = set.get(one.source, one.key);
      const name = one.source === "any" ? one.key : `${one.source}:${one.key}`;
      return `needs ${formatRequirement(one)}, has ${found === undefined ? `no ${name}` : `${name}=${found.value}`}`;
    });
}
