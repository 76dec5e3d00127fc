import { defaultSettings } from "../settings.ts";
import { type Fields, readList, readObject, startReading } from "./reading.ts";

/** The value as an object; anything else is an empty one. For objects that somebody else has checked, or will. */
export function objectOf(value: unknown): Fields {
  return readObject(startReading(defaultSettings), value, "") ?? {};
}

/** The value as a list; anything else is an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return readList(startReading(defaultSettings), value, "") ?? [];
}

/** What stands at a path (`spec.ingress[0]`) of an object; undefined when there is nothing. */
export function valueAt(object: unknown, path: string): unknown {
  let value = object;
  for (const [, name, index] of path.matchAll(/([a-zA-Z]+)|\[(\d+)\]/g))
    value = name === undefined ? listOf(value)[Number(index)] : objectOf(value)[name];
  return value;
}

/** The value as a text; anything else is empty. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The texts of an object's fields; what is no text is left out. */
export function textsOf(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(objectOf(value)).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}
