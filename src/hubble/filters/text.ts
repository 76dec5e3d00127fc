import { RE2JS } from "re2js";

/** A filter that cannot be understood; the message names the field and the value. */
export class FilterError extends Error {
  readonly field: string;
  constructor(field: string, message: string) {
    super(`invalid filter ${field}: ${message}`);
    this.name = "FilterError";
    this.field = field;
  }
}

/** A user's regular expression (RE2, unanchored, linear time) as a predicate. Throws FilterError. */
export function regexPredicate(field: string, pattern: string): (text: string) => boolean {
  try {
    const compiled = RE2JS.compile(pattern);
    return (text) => compiled.matcher(text).find();
  } catch (thrown) {
    throw new FilterError(field, `"${pattern}" is no regular expression: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** A name pattern with `*` (any run of name characters, dots included) as a predicate over lower-case text. Throws FilterError. */
export function wildcardPredicate(field: string, pattern: string): (text: string) => boolean {
  const wanted = pattern.toLowerCase().replace(/\.$/, "");
  if (wanted === "" || !/^[-_.a-z0-9*]+$/.test(wanted)) throw new FilterError(field, `"${pattern}" is no name pattern`);
  const regex = new RegExp(`^${wanted.replaceAll(".", "\\.").replaceAll(/\*+/g, "[-_.a-z0-9]*")}$`);
  return (text) => regex.test(text.toLowerCase().replace(/\.$/, ""));
}
