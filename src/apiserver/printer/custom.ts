import type { Json, JsonObject, KubeObject } from "../object.ts";
import { age, ageColumn, type Column, column, nameColumn } from "./columns.ts";
import { evaluatePath } from "./jsonpath.ts";

/** The columns of a custom resource: its name, then its `additionalPrinterColumns`, or its age when it has none. */
export function customColumns(definitions: readonly JsonObject[]): readonly Column[] {
  if (definitions.length === 0) return [nameColumn, ageColumn];
  return [nameColumn, ...definitions.map(toColumn)];
}

function toColumn(definition: JsonObject): Column {
  const path = String(definition.jsonPath ?? "");
  const type = String(definition.type) as Column["type"];
  return column(String(definition.name), (object, now) => cell(object, path, type, now), {
    type,
    description: String(definition.description ?? `Custom resource definition column (in JSONPath format): ${path}`),
    priority: Number(definition.priority ?? 0) > 0 ? 1 : 0,
    ...(typeof definition.format === "string" ? { format: definition.format } : {}),
  });
}

/** What kube-apiserver prints: several values joined, dates as ages, objects as JSON, and nothing where there is no value. */
function cell(object: KubeObject, path: string, type: Column["type"], now: Date): Json {
  const found = evaluatePath(object, path).filter((value) => value !== undefined && value !== null);
  if (found.length === 0) return null;
  if (type === "date") return age(found[0], now);
  if (type === "string" || found.length > 1) return found.map(text).join(",");
  return found[0] as Json;
}

const text = (value: unknown): string => (typeof value === "object" ? JSON.stringify(value) : String(value));
