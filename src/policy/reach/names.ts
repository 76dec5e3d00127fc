import { type FqdnSelector, fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";

/**
 * The names that selectors let through, in texts that are equal for selectors that let the same through: lower case, once each, without those that
 * another one covers.
 */
export function nameTexts(selectors: readonly FqdnSelector[]): string[] {
  const texts = [...new Set(selectors.map(({ matchName, matchPattern }) => canonical(matchName || matchPattern || "")))].sort();
  return texts.filter((text) => !texts.some((other) => other !== text && covers(other, text)));
}

/** Runs of stars mean one, but for a leading `**.`, and a star alone means every name. */
function canonical(name: string): string {
  const text = normalizeName(name.trim()).slice(0, -1);
  if (/^\*+$/.test(text)) return "*";
  const [head, rest] = text.startsWith("**.") ? ["**.", text.slice(3)] : ["", text];
  return `${head}${rest.replace(/\*+/g, "*")}`;
}

/** Whether every name that the one text takes the other takes too; no when it would take more than a look. */
function covers(outer: string, inner: string): boolean {
  if (outer === "*") return true;
  if (!inner.includes("*")) return outer.includes("*") && fqdnMatcher({ matchPattern: outer })(normalizeName(inner));
  const [, stars = "", rest = ""] = /^(\*\*?)\.([^*]+)$/.exec(outer) ?? [];
  if (rest === "" || !inner.endsWith(`.${rest}`)) return false;
  const head = inner.slice(0, -rest.length - 1);
  return stars === "**" || (!head.includes(".") && head !== "**");
}
