import { isObject, type JsonObject } from "../object.ts";

/** Sets fields that are missing, in place. */
export function fill(object: JsonObject, defaults: JsonObject): void {
  for (const [key, value] of Object.entries(defaults)) if (object[key] === undefined) object[key] = value;
}

/** The objects of a list field; nothing when it is missing or something else. */
export function items(parent: unknown, key: string): JsonObject[] {
  const list = isObject(parent) ? parent[key] : undefined;
  return Array.isArray(list) ? list.filter(isObject) : [];
}
