import { FilterError } from "./text.ts";

interface Requirement {
  readonly key: string;
  readonly operator: "exists" | "absent" | "in" | "notin" | "equals" | "differs";
  readonly values: readonly string[];
}

const TERM =
  /^\s*(?:(!)\s*([^\s!=,()]+)|([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)|([^\s!=,()]+)\s*(==|=|!=)\s*([^\s,()=!]*)|([^\s!=,()]+))\s*(?:,|$)/;

/**
 * A Kubernetes label selector (`app=web,tier in (a,b),!old`) as a predicate over labels of the form `source:key=value`. Keys may
 * carry a source (`k8s:app`, `reserved:world`); without one any source matches. Throws FilterError.
 */
export function labelPredicate(field: string, text: string): (labels: readonly string[]) => boolean {
  const requirements = parseSelector(field, text);
  return (labels) => requirements.every((requirement) => holds(requirement, labels));
}

function parseSelector(field: string, text: string): Requirement[] {
  const requirements: Requirement[] = [];
  let rest = text;
  if (text.trim() === "") throw new FilterError(field, "an empty selector");
  while (rest.trim() !== "") {
    const match = TERM.exec(rest);
    if (match === null) throw new FilterError(field, `"${text}" is no label selector, stopped at "${rest.trim()}"`);
    requirements.push(requirementOf(match));
    rest = rest.slice(match[0].length);
  }
  return requirements;
}

function requirementOf(match: RegExpExecArray): Requirement {
  const [, , absent, setKey, setOperator, setValues, key, operator, value, present] = match;
  if (absent !== undefined) return { key: absent, operator: "absent", values: [] };
  if (setKey !== undefined && setOperator !== undefined) {
    const values = (setValues ?? "").split(",").map((item) => item.trim());
    return { key: setKey, operator: setOperator === "in" ? "in" : "notin", values };
  }
  if (key !== undefined) return { key, operator: operator === "!=" ? "differs" : "equals", values: [value ?? ""] };
  return { key: present ?? "", operator: "exists", values: [] };
}

function holds({ key, operator, values }: Requirement, labels: readonly string[]): boolean {
  const found = labelValue(labels, key);
  switch (operator) {
    case "exists":
      return found !== undefined;
    case "absent":
      return found === undefined;
    case "in":
    case "equals":
      return found !== undefined && values.includes(found);
    case "notin":
    case "differs":
      return found === undefined || !values.includes(found);
  }
}

/** The value of a label; `any:` and no source mean every source. */
function labelValue(labels: readonly string[], key: string): string | undefined {
  const wanted = key.startsWith("any:") ? key.slice(4) : key;
  for (const label of labels) {
    const equals = label.indexOf("=");
    const name = equals < 0 ? label : label.slice(0, equals);
    if (name === wanted || (!wanted.includes(":") && name.slice(name.indexOf(":") + 1) === wanted))
      return equals < 0 ? "" : label.slice(equals + 1);
  }
  return undefined;
}
