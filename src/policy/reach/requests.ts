import { covers, patternOf, type Shape, shapesOf } from "../l7/http-pattern.ts";
import type { HttpRule } from "../rule.ts";

type Request = {
  readonly method: Shape;
  readonly path: Shape;
  readonly host: Shape;
  /** Conditions on headers, as JSON; empty: none. */
  readonly more: string;
  /** Some of them change headers: such a rule has something to say even about requests that another lets pass. */
  readonly changes: boolean;
};

/**
 * What HTTP rules let through, in texts that are equal for rules that let the same through: alternatives each for itself, without those that
 * another one covers. Patterns that are more than texts, alternatives and prefixes are only equal to themselves.
 */
export function requestTexts(rules: readonly HttpRule[]): string[] {
  const all = rules.flatMap(requestsOf);
  const kept = all.filter(
    (one, i) => !all.some((other, j) => i !== j && coversRequest(other, one) && !(j > i && coversRequest(one, other))),
  );
  return kept.map(textOf);
}

function requestsOf({ method, path, host, ...rest }: HttpRule): Request[] {
  const more = Object.keys(rest).length === 0 ? "" : JSON.stringify(rest);
  const changes = (rest.headerMatches ?? []).some(({ mismatch }) => mismatch !== undefined);
  return shapesOf(method).flatMap((one) =>
    shapesOf(path).flatMap((other) => shapesOf(host).map((third) => ({ method: one, path: other, host: third, more, changes }))),
  );
}

function coversRequest(a: Request, b: Request): boolean {
  const isWider = a.more === b.more || (a.more === "" && !b.changes);
  return isWider && covers(a.method, b.method) && covers(a.path, b.path) && covers(a.host, b.host);
}

function textOf({ method, path, host, more }: Request): string {
  const [one, other, third] = [method, path, host].map((shape) => patternOf([shape]));
  return `HTTP ${[one, other, third && `host ${third}`, more].filter(Boolean).join(" ") || "any"}`;
}
