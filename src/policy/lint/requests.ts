import { covers, type Shape, shapesOf, startOf } from "../l7/http-pattern.ts";
import { regexProblem } from "../parse/l7.ts";
import { didYouMean } from "../parse/reading.ts";
import type { HttpRule } from "../rule.ts";
import { rulePath } from "../world/objects.ts";
import type { WorldPolicy } from "../world/world.ts";
import type { Finding } from "./finding.ts";

type Said = Pick<Finding, "id" | "severity" | "message" | "fix">;

const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/** HTTP rules whose patterns match other requests than it seems, and those that one beside them makes moot. */
export function* lintRequests({ parsed, from }: WorldPolicy): Generator<Finding> {
  const seen = new Set<string>();
  for (const rule of parsed.rules) {
    for (const [i, { l7 }] of (rule.ports ?? []).entries()) {
      const list = `${rulePath(from.object, rule.origin)}.toPorts[${i}].rules.http`;
      // A rule that names the entity `dns` beside others is two.
      if (l7 === undefined || seen.has(list)) continue;
      seen.add(list);
      for (const [j, http] of l7.http.entries()) {
        const found = [...methodOf(http), ...pathOf(http), ...hostOf(http), ...headersOf(http), ...besides(http, j, l7.http)];
        for (const said of found) yield { ...said, policy: parsed.ref, rule: rule.origin, path: `${list}[${j}]` };
      }
    }
  }
}

const wrong = (message: string, fix: string): Said => ({ id: "L17", severity: "warning", message, fix });
const odd = (message: string, fix: string): Said => ({ id: "L17", severity: "info", message, fix });

function* methodOf({ method = "" }: HttpRule): Generator<Said> {
  for (const shape of shapesOf(method)) {
    if (shape.kind !== "text" || methods.includes(shape.text)) continue;
    const parts = shape.text.toUpperCase().match(/[A-Z]+/g) ?? [];
    const fix = `write "${parts.join("|")}"`;
    const near = didYouMean(shape.text, methods);
    if (/[^A-Za-z]/.test(shape.text) && parts.every((one) => methods.includes(one)))
      yield wrong(`the method "${shape.text}" matches no request: it is a pattern, whose alternatives stand between "|"`, fix);
    else if (methods.includes(shape.text.toUpperCase()))
      yield wrong(`the method "${shape.text}" matches no request: methods are in capitals`, fix);
    else if (near !== "") yield wrong(`hardly any request has the method "${shape.text}"${near}`, "correct the method");
  }
}

function* pathOf({ path = "" }: HttpRule): Generator<Said> {
  const shapes = shapesOf(path);
  const outside = shapes.find((one) => !/^(\/|\*$|$)/.test(startOf(one)));
  if (outside !== undefined) {
    const fix = "write what follows the host, from the slash on; `host` is for the host";
    yield wrong(`the path "${path}" matches no request: paths begin with "/", and "${startOf(outside)}" does not`, fix);
  }
  const [only] = shapes;
  if (shapes.length === 1 && only?.kind === "text" && only.text.length > 1 && (only.text.endsWith("/") || /^\^.*[^$]$/.test(path))) {
    const message = `the path "${path}" matches just "${only.text}", as patterns match the whole path`;
    yield odd(message, `write "${path.replace(/\$$/, "")}.*" for what begins so`);
  }
  const slips: readonly (readonly [RegExp, string, string])[] = [
    [/(?<=^|[a-z0-9/_-])\*/gi, ".*", "the star repeats the character before it: it is no wildcard"],
    [/\{[a-z_][^}]*\}/gi, "[^/]+", "the braces stand for themselves: they are no placeholder"],
    [/(?<=\/):[a-z_]\w*/gi, "[^/]+", "the name after the colon stands for itself: it is no placeholder"],
    [/(?<=[\w/-])\?(?=[\w.%-]+=)/g, "\\?", "the question mark makes the character before it optional: it does not begin the query"],
  ];
  for (const [slip, right, message] of slips) {
    const fixed = path.replaceAll(slip, right);
    if (fixed !== path) yield wrong(`in the path "${path}" ${message}`, `write "${fixed}"`);
  }
}

/** The dots that stand for themselves: neither in brackets, nor escaped already, nor repeated as in `.*`. */
function escapedDots(pattern: string): string {
  return pattern.replaceAll(/\\.|\[[^\]]*\]|\.(?![*+?{])/g, (found) => (found === "." ? "\\." : found));
}

function* hostOf({ host = "" }: HttpRule): Generator<Said> {
  // What is no pattern at all, the parser says.
  if (host === "" || regexProblem(host) !== undefined) return;
  if (host.includes("/")) yield wrong(`the host "${host}" matches no request: a host has no "/"`, "write the name alone");
  else if (/[a-z]\.[a-z]/i.test(host.replaceAll("\\.", "")))
    yield odd(`the host "${host}" has a dot that stands for any character`, `write "${escapedDots(host)}"`);
}

const isPattern = /\.[*+]|^\^|\$$|\[[^\]]+\]/;

function* headersOf({ headers = [], headerMatches = [] }: HttpRule): Generator<Said> {
  for (const text of headers) {
    const [, name, value] = /^([^:=\s]+)[:=]+(\S+)$/.exec(text) ?? [];
    if (name !== undefined)
      yield wrong(`the header "${text}" asks for a header that is called so, which none is`, `write "${name}: ${value}", with a blank`);
  }
  const values = [
    ...headers.map((text) => [text.replace(/:*\s.*$/, ""), /\s(.*)$/.exec(text)?.[1] ?? ""] as const),
    ...headerMatches.map(({ name, value = "" }) => [name, value] as const),
  ];
  for (const [name, value] of values.filter(([, text]) => isPattern.test(text)))
    yield odd(`the value "${value}" of the header ${name} is compared as it is: it is no pattern`, "name the value, or the header alone");
}

/** What another rule of the same list says of one: a request passes when one of them matches. */
function* besides(http: HttpRule, index: number, list: readonly HttpRule[]): Generator<Said> {
  if (list.length === 1) return;
  if (Object.keys(http).length === 0) {
    const message = `an empty rule allows every request: the ${list.length === 2 ? "other is" : `${list.length - 1} others are`} moot`;
    yield { id: "L08", severity: "warning", message, fix: "take `{}` out" };
    return;
  }
  const wider = list.findIndex((one, i) => i !== index && Object.keys(one).length > 0 && ruleCovers(one, http));
  // Of two that are alike the later one is too many.
  if (wider < 0 || (wider > index && ruleCovers(http, list[wider] ?? {}))) return;
  yield {
    id: "L10",
    severity: "info",
    message: `adds nothing to http[${wider}], which allows the same requests and more`,
    fix: "take it out",
  };
}

function ruleCovers(outer: HttpRule, inner: HttpRule): boolean {
  const fields = ["path", "method", "host"] as const;
  const asks = ({ headers = [], headerMatches = [] }: HttpRule) => [...headers, ...headerMatches].map((one) => JSON.stringify(one));
  // What a rule does to headers it does beside a wider one too.
  if (inner.headerMatches?.some(({ mismatch }) => mismatch !== undefined) === true) return false;
  return fields.every((field) => patternCovers(outer[field], inner[field])) && asks(outer).every((one) => asks(inner).includes(one));
}

function patternCovers(outer: string | undefined, inner: string | undefined): boolean {
  const wide: readonly Shape[] = shapesOf(outer);
  return shapesOf(inner).every((one) => wide.some((other) => covers(other, one)));
}
