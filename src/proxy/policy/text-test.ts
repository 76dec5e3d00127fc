import { RE2JS } from "re2js";
import { plainRegExp } from "./plain-pattern.ts";

/** A compiled expression of a rule: `test` is true when it matches the whole text. */
export interface TextTest {
  readonly pattern: string;
  /** How every text begins that matches. */
  readonly prefix: string;
  test(text: string): boolean;
}

const META = /[\\^$.|?*+()[\]{}]/;

/**
 * Compiles an RE2 expression (linear time, whatever the input). Plain words and `prefix.*` need no engine. What is no expression matches nothing.
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
  if (!META.test(pattern)) return { pattern, prefix: pattern, test: (text) => text === pattern };
  const start = pattern.endsWith(".*") ? pattern.slice(0, -2) : undefined;
  if (start !== undefined && !META.test(start)) return { pattern, prefix: start, test: (text) => text.startsWith(start) };
  // First of all, since it knows what is an expression at all.
  const regex = compileRe2(pattern);
  if (regex === undefined) return { pattern, prefix: "", test: () => false };
  const plain = plainRegExp(pattern);
  if (plain !== undefined) return { pattern, prefix: literalPrefix(pattern), test: (text) => plain.test(text) };
  return { pattern, prefix: literalPrefix(pattern), test: (text) => regex.testExact(text) };
}

function compileRe2(pattern: string): RE2JS | undefined {
  try {
    return RE2JS.compile(pattern);
  } catch {
    return undefined;
  }
}

const NOT_PLAIN = /[\\^$.|?*+()[\]{}]|[^ -~]/;

/** The plain characters in front, without one that need not be there; nothing where there are alternatives. */
function literalPrefix(pattern: string): string {
  if (pattern.includes("|")) return "";
  const end = pattern.search(NOT_PLAIN);
  return pattern.slice(0, /[?*{]/.test(pattern.charAt(end)) ? Math.max(0, end - 1) : end);
}
