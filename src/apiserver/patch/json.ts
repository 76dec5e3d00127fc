import { ApiError, badRequest } from "../errors.ts";
import { clone, deepEqual, isObject } from "../object.ts";

/** Applies an RFC 6902 JSON patch and returns the result; the document is left alone. Throws 400 or 422 naming the operation. */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest("a JSON patch must be an array of operations");
  if (patch.length > 10_000) throw new ApiError(413, "RequestEntityTooLarge", "a JSON patch may have at most 10000 operations");
  return patch.reduce(
    (state: { root: unknown }, operation, index) => {
      if (!isObject(operation)) throw badRequest(`operation ${index} of the JSON patch is not an object`);
      perform(state, operation, index);
      return state;
    },
    { root: clone(document) },
  ).root;
}

interface State {
  root: unknown;
}

function perform(state: State, operation: Record<string, unknown>, index: number): void {
  const { op, path, from, value } = operation;
  const fail: Fail = (why) => {
    throw new ApiError(
      422,
      "Invalid",
      `the server rejected our request due to an error in our request: operation ${index} (${String(op)} ${String(path)}): ${why}`,
    );
  };
  if (typeof path !== "string") throw badRequest(`operation ${index} of the JSON patch has no path`);
  switch (op) {
    case "add":
      put(state, path, clone(value), true, fail);
      break;
    case "replace":
      read(state, path, fail);
      put(state, path, clone(value), false, fail);
      break;
    case "remove":
      take(state, path, fail);
      break;
    case "move":
      put(state, path, take(state, String(from), fail), true, fail);
      break;
    case "copy":
      put(state, path, clone(read(state, String(from), fail)), true, fail);
      break;
    case "test":
      if (!deepEqual(read(state, path, fail), value)) fail("the value differs");
      break;
    default:
      throw badRequest(`operation ${index} of the JSON patch has the unknown op ${JSON.stringify(op)}`);
  }
}

type Fail = (why: string) => never;

function tokens(path: string, fail: Fail): string[] {
  if (path === "") return [];
  if (!path.startsWith("/")) fail("a path must start with /");
  return path
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function step(parent: unknown, key: string, fail: Fail): unknown {
  if (Array.isArray(parent)) return parent[indexIn(parent, key, parent.length - 1, fail)];
  if (isObject(parent) && Object.hasOwn(parent, key)) return parent[key];
  return fail(`there is no ${JSON.stringify(key)}`);
}

function indexIn(list: readonly unknown[], key: string, last: number, fail: Fail): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) > last) fail(`index ${key} is outside of the list of ${list.length}`);
  return Number(key);
}

function read(state: State, path: string, fail: Fail): unknown {
  return tokens(path, fail).reduce((here: unknown, key) => step(here, key, fail), state.root);
}

function parentOf(state: State, path: string, fail: Fail): readonly [unknown, string] {
  const keys = tokens(path, fail);
  const last = keys.pop() ?? "";
  return [keys.reduce((here: unknown, key) => step(here, key, fail), state.root), last];
}

function put(state: State, path: string, value: unknown, insert: boolean, fail: Fail): void {
  if (path === "") {
    state.root = value;
    return;
  }
  const [parent, key] = parentOf(state, path, fail);
  if (key === "__proto__") fail("not a field name");
  if (Array.isArray(parent)) {
    const index = key === "-" ? parent.length : indexIn(parent, key, insert ? parent.length : parent.length - 1, fail);
    parent.splice(index, insert ? 0 : 1, value);
  } else if (isObject(parent)) parent[key] = value;
  else fail("the parent is neither an object nor a list");
}

function take(state: State, path: string, fail: Fail): unknown {
  const value = read(state, path, fail);
  const [parent, key] = parentOf(state, path, fail);
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else if (isObject(parent)) delete parent[key];
  return value;
}
