import { RE2JS } from "re2js";

/** A compiled expression of a rule: `test` is true when it matches the whole text. */
export interface TextTest {
  readonly pattern: string;
  test(text: string): boolean;
}

const META = /[\\^$.|?*+()[\]{}]/;

/**
 * Compiles an RE2 expression (linear time, whatever the input). Plain words and `prefix.*` need no engine. Throws re2js's syntax error.
 * `.*` on its own ends the fast path safely because requests never contain line breaks.
 */
export function compileText(pattern: string): TextTest {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const made = compileNew(pattern);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(pattern, made);
  return made;
}

/** Expressions recur in every snapshot and for every endpoint; compiling is what costs. */
const compiled = new Map<string, TextTest>();
const MAX_COMPILED = 10_000;

function compileNew(pattern: string): TextTest {
  if (!META.test(pattern)) return { pattern, test: (text) => text === pattern };
  const prefix = pattern.endsWith(".*") ? pattern.slice(0, -2) : undefined;
  if (prefix !== undefined && !META.test(prefix)) return { pattern, test: (text) => text.startsWith(prefix) };
  const regex = RE2JS.compile(pattern);
  return { pattern, test: (text) => regex.testExact(text) };
}
