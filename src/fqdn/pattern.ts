/** A selector of DNS names, as in `toFQDNs` and in DNS rules: one of the two is set. */
export type FqdnSelector = { readonly matchName?: string | undefined; readonly matchPattern?: string | undefined };

/** One character of a label of a DNS name, as Cilium takes it. */
const nameChar = "[-a-zA-Z0-9_]";

/** A name as it is compared: lower case, with the final dot. */
export function normalizeName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith(".") ? lower : `${lower}.`;
}

function patternSource(pattern: string): string {
  const name = normalizeName(pattern.trim());
  const body = name.slice(0, -1);
  if (/^\*+$/.test(body)) return `(?:(?:${nameChar}+[.])+|[.])`;
  // Only a leading `**.` crosses dots; elsewhere a run of stars is one star.
  const [deep] = /^\*{2,}\./.exec(body) ?? [];
  const rest = name
    .slice(deep?.length ?? 0)
    .replaceAll(".", "[.]")
    .replace(/\*+/g, `${nameChar}*`);
  return deep !== undefined ? `${nameChar}+(?:[.]${nameChar}+)*[.]${rest}` : rest;
}

/** The regular expression (without anchors) that a name, in lower case with its final dot, must match as a whole. */
export function fqdnRegex(selector: FqdnSelector): string {
  if (selector.matchName !== undefined && selector.matchName !== "") {
    return normalizeName(selector.matchName.trim())
      .replaceAll(".", "[.]")
      .replaceAll(/[*+?^$(){}|\\]/g, "\\$&");
  }
  return patternSource(selector.matchPattern ?? "");
}

/** A test of names against a selector; give it names made by `normalizeName`. */
export function fqdnMatcher(selector: FqdnSelector): (name: string) => boolean {
  const regex = new RegExp(`^${fqdnRegex(selector)}$`);
  return (name) => regex.test(name);
}

/** The key of the label that a selector puts on identities, `fqdn:<key>`: its text as written, as in Cilium. */
export function fqdnLabelKey(selector: FqdnSelector): string {
  return selector.matchName !== undefined && selector.matchName !== "" ? selector.matchName : (selector.matchPattern ?? "");
}

/** What is wrong with a selector; empty when nothing is. `underscore` tells whether a matchName may have one. */
export function validateFqdn(selector: FqdnSelector, underscore: boolean): string[] {
  const problems: string[] = [];
  const name = selector.matchName ?? "";
  const pattern = selector.matchPattern ?? "";
  if (!(underscore ? /^[-0-9a-zA-Z._]*$/ : /^[-0-9a-zA-Z.]*$/).test(name)) {
    problems.push(
      `matchName "${name}" has a character that is not allowed: letters, digits, "."${underscore ? ', "_"' : ""} and "-" are${
        name.includes("*") ? "; use matchPattern for *" : ""
      }`,
    );
  }
  if (pattern.length > 255) problems.push(`matchPattern has ${pattern.length} characters, at most 255 are allowed`);
  if (!/^[-0-9a-zA-Z._*]*$/.test(pattern)) {
    problems.push(`matchPattern "${pattern}" has a character that is not allowed: letters, digits, ".", "-", "_" and "*" are`);
  }
  return problems;
}
