import type { HttpRequest } from "../l7/http.ts";
import type { HttpRule } from "../rule.ts";

/** So many different words at one place of otherwise equal paths are taken for names of things, not for parts of the program. */
const MANY = 8;

/** Segments that differ from thing to thing, and what stands for all of them. */
const things: readonly (readonly [RegExp, string])[] = [
  [/^\d+$/, "[0-9]+"],
  [/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i, "[0-9a-fA-F-]{36}"],
  [/^[0-9a-f]{16,}$/i, "[0-9a-fA-F]+"],
];

/** HTTP rules that allow these requests: one a method and shape of path, in order. A query, where one was seen, may be any. */
export function rulesForRequests(requests: readonly Pick<HttpRequest, "method" | "path">[]): HttpRule[] {
  const byMethod = Map.groupBy(requests, ({ method }) => method);
  return [...byMethod]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([method, list]) => pathsOf(list.map(({ path }) => path)).map((path) => ({ method: escaped(method), path })));
}

/** Expressions that match these paths, things in them generalised. */
function pathsOf(paths: readonly string[]): string[] {
  const shapes = new Map<string, { segments: readonly string[]; query: boolean }>();
  for (const text of paths) {
    const [path = "", query] = text.split("?", 2);
    const segments = path.split("/").map(segmentOf);
    const key = segments.join("/");
    shapes.set(key, { segments, query: query !== undefined || (shapes.get(key)?.query ?? false) });
  }
  const merged = collapsed([...shapes.values()]);
  return merged.map(({ segments, query }) => `${segments.join("/")}${query ? "(\\?.*)?" : ""}`).sort();
}

type Shape = { readonly segments: readonly string[]; readonly query: boolean };

/** Paths that differ in one place only, and there in many words, become one. */
function collapsed(shapes: readonly Shape[]): Shape[] {
  let left = [...shapes];
  for (let at = Math.max(0, ...shapes.map(({ segments }) => segments.length)) - 1; at > 0; at--) {
    const alike = Map.groupBy(left, ({ segments }) => (at < segments.length ? JSON.stringify(segments.toSpliced(at, 1, "")) : ""));
    left = [...alike].flatMap(([key, members]) => {
      const [first] = members;
      if (key === "" || first === undefined || members.length < MANY) return members;
      return [{ segments: first.segments.toSpliced(at, 1, "[^/]+"), query: members.some(({ query }) => query) }];
    });
  }
  return left;
}

function segmentOf(text: string): string {
  return things.find(([pattern]) => pattern.test(text))?.[1] ?? escaped(text);
}

/** RE2 for just this text. */
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
