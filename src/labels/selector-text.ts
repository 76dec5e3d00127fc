export type LabelMatcher = (labels: Readonly<Record<string, string>>) => boolean;

/** Reads a label selector as text: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. What is wrong, naming the part, when it is none. */
export function readLabelSelector(text: string): LabelMatcher | string {
  const matchers: LabelMatcher[] = [];
  for (const part of splitOutsideParentheses(text)) {
    const matcher = parseRequirement(part.trim());
    if (matcher === undefined)
      return `unable to parse requirement ${JSON.stringify(part.trim())} of label selector ${JSON.stringify(text)}`;
    matchers.push(matcher);
  }
  return (labels) => matchers.every((matches) => matches(labels));
}

function splitOutsideParentheses(text: string): string[] {
  return text.split(/,(?![^(]*\))/);
}

const NAME = "[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?";
const SET = new RegExp(`^(${NAME})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUAL = new RegExp(`^(${NAME})\\s*(==|=|!=|>|<)\\s*([-A-Za-z0-9_.]*)$`);
const EXISTS = new RegExp(`^(!?)\\s*(${NAME})$`);

function parseRequirement(part: string): LabelMatcher | undefined {
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
  if (!exists) return undefined;
  const [, negated, key = ""] = exists;
  return negated ? (labels) => labels[key] === undefined : (labels) => labels[key] !== undefined;
}
