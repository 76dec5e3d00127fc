import { matchesWhole } from "./http.ts";

/** What a pattern of an HTTP rule matches, as far as that can be said without running it. */
export type Shape =
  | { readonly kind: "any" }
  | { readonly kind: "text"; readonly text: string }
  /** Everything that begins so. */
  | { readonly kind: "prefix"; readonly text: string }
  /** A pattern of another form: it is only equal to itself. */
  | { readonly kind: "other"; readonly pattern: string };

/** The alternatives of a pattern, which must match the whole text: `GET|POST` are two texts, `/v1/.*` is a prefix. */
export function shapesOf(pattern: string | undefined): Shape[] {
  if (pattern === undefined || pattern === "") return [{ kind: "any" }];
  return alternatives(withoutGroup(pattern)).map(shapeOf);
}

/** The pattern for these alternatives; undefined: everything. */
export function patternOf(shapes: readonly Shape[]): string | undefined {
  if (shapes.some(({ kind }) => kind === "any")) return undefined;
  return shapes.map(textOf).join("|");
}

/** Whether everything that `b` matches is matched by `a`; false where that cannot be said. */
export function covers(a: Shape, b: Shape): boolean {
  if (a.kind === "any") return true;
  if (a.kind === "prefix")
    return b.kind === "other" ? literalStart(b.pattern).startsWith(a.text) : b.kind !== "any" && b.text.startsWith(a.text);
  if (b.kind === "text") return a.kind === "text" ? a.text === b.text : matchesWhole(a.pattern, b.text);
  return a.kind === "other" && b.kind === "other" && a.pattern === b.pattern;
}

/** With what every text of a shape begins; empty where that is not known. */
export function startOf(shape: Shape): string {
  if (shape.kind === "any") return "";
  return shape.kind === "other" ? literalStart(shape.pattern) : shape.text;
}

/** The shape without one text; undefined where no pattern for the rest is known. */
export function without(shape: Shape, text: string): Shape[] | undefined {
  switch (shape.kind) {
    case "text":
      return shape.text === text ? [] : [shape];
    case "other":
      return matchesWhole(shape.pattern, text) ? undefined : [shape];
    case "any":
      return [{ kind: "other", pattern: allBut(text) }];
    case "prefix":
      return text.startsWith(shape.text)
        ? [{ kind: "other", pattern: escaped(shape.text) + allBut(text.slice(shape.text.length)) }]
        : [shape];
  }
}

/** RE2 cannot say "not", but all texts but one are: those that end before its end, and those that leave it at some letter. */
function allBut(text: string): string {
  const [first, ...rest] = text;
  if (first === undefined) return ".+";
  return `([^${first.replace(/[\\\]^-]/, "\\$&")}].*|${escaped(first)}${allBut(rest.join(""))})?`;
}

function textOf(shape: Shape): string {
  if (shape.kind === "other") return shape.pattern;
  return shape.kind === "any" ? ".*" : `${escaped(shape.text)}${shape.kind === "prefix" ? ".*" : ""}`;
}

const SPECIAL = /[\\^$.|?*+()[\]{}]/g;
const escaped = (text: string) => text.replace(SPECIAL, "\\$&");

/** `^…$` says what holds anyhow, and so does a group around everything. */
function withoutGroup(pattern: string): string {
  const bare = alternatives(pattern).length === 1 ? pattern.replace(/^\^/, "").replace(/(?<!\\)\$$/, "") : pattern;
  const group = /^\((?:\?:)?([^()]*)\)$/.exec(bare)?.[1];
  return group === undefined || group.startsWith("?") ? bare : group;
}

/** Cuts at each `|` that is in no group and no class. */
function alternatives(pattern: string): string[] {
  const found = [""];
  let depth = 0;
  for (const [token] of pattern.matchAll(/\\.|\[\^?\]?(?:\\.|[^\]])*\]|[\s\S]/g)) {
    if (token === "(") depth += 1;
    if (token === ")") depth -= 1;
    if (token === "|" && depth === 0) found.push("");
    else found[found.length - 1] += token;
  }
  return found;
}

function shapeOf(pattern: string): Shape {
  const bare = pattern.replace(/^\^/, "").replace(/(?<!\\)\$$/, "");
  if (bare === ".*") return { kind: "any" };
  const text = literalOf(bare);
  if (text !== undefined) return { kind: "text", text };
  const start = bare.endsWith(".*") ? literalOf(bare.slice(0, -2)) : undefined;
  return start === undefined ? { kind: "other", pattern: bare } : { kind: "prefix", text: start };
}

/** The one text that the pattern matches; undefined when it matches others too. */
function literalOf(pattern: string): string | undefined {
  if (!/^(?:\\[^a-zA-Z0-9]|[^\\^$.|?*+()[\]{}])*$/.test(pattern)) return undefined;
  return pattern.replace(/\\(.)/g, "$1");
}

/** With what everything that the pattern matches begins; a letter that may be repeated or left out is no longer sure. */
function literalStart(pattern: string): string {
  const [start = ""] = /^(?:\\[^a-zA-Z0-9]|[^\\^$.|?*+()[\]{}])*/.exec(pattern) ?? [];
  const sure = /[?*+{]/.test(pattern.charAt(start.length)) ? start.replace(/\\?.$/, "") : start;
  return alternatives(pattern).length > 1 ? "" : (literalOf(sure) ?? "");
}
