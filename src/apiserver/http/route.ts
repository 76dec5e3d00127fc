import { badRequest } from "../errors.ts";

/** A path below `/api` or `/apis` that names objects. */
export interface Route {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
  /** What comes after the subresource (`proxy/…`). */
  readonly rest?: string;
  /** The old `/watch/` prefix. */
  readonly watch: boolean;
}

const NAMESPACE_SUBRESOURCES: ReadonlySet<string> = new Set(["status", "finalize"]);

/** Takes a resource path, as it stands in the URL, apart; undefined when it is none. Throws 400 for a broken escape. */
export function parseRoute(path: string): Route | undefined {
  const [root, ...parts] = path
    .split("/")
    .filter((part) => part !== "")
    .map(decodeSegment);
  if (root !== "api" && root !== "apis") return undefined;
  const group = root === "apis" ? parts.shift() : "";
  const version = parts.shift();
  if (group === undefined || version === undefined || parts.length === 0) return undefined;
  const watch = parts[0] === "watch" && parts.length > 1;
  if (watch) parts.shift();
  return { group, version, watch, ...objectPath(parts) };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw badRequest(`the path has a broken escape: ${JSON.stringify(segment)}`);
  }
}

function objectPath(parts: readonly string[]): Omit<Route, "group" | "version" | "watch"> {
  const [first = "", second, third, ...more] = parts;
  const inNamespace =
    first === "namespaces" && second !== undefined && third !== undefined && !(parts.length === 3 && NAMESPACE_SUBRESOURCES.has(third));
  if (!inNamespace) return named(first, second, third, more);
  const [name, subresource, ...rest] = more;
  return { namespace: second, ...named(third, name, subresource, rest) };
}

function named(resource: string, name: string | undefined, subresource: string | undefined, rest: readonly string[]) {
  return {
    resource,
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
    ...(rest.length === 0 ? {} : { rest: rest.join("/") }),
  };
}
