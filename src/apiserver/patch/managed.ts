import { clone, deepEqual, isObject, type KubeObject, type ManagedFieldsEntry, timestamp } from "../object.ts";
import { apiVersionOf, type Resource } from "../resources/resource.ts";
import { fieldsOf, fromFieldsV1, ITEM, toFieldsV1 } from "./fieldset.ts";

/** One writer of an object and the fields that are its. */
export interface Manager {
  readonly name: string;
  readonly operation: ManagedFieldsEntry["operation"];
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: Set<string>;
}

/** The managers of an object; entries that make no sense are left out. */
export function readManagers(object: KubeObject | undefined): Manager[] {
  return (object?.metadata.managedFields ?? []).filter(isEntry).map((entry) => ({
    name: entry.manager,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    subresource: entry.subresource ?? "",
    time: entry.time,
    fields: fromFieldsV1(entry.fieldsV1),
  }));
}

const isEntry = (entry: unknown): boolean =>
  isObject(entry) && (entry.operation === "Apply" || entry.operation === "Update") && isObject(entry.fieldsV1);

/** Puts the managers into the object; those without fields are dropped, and those that did not change keep their time. */
export function writeManagers(object: KubeObject, managers: readonly Manager[], before: KubeObject | undefined, now: Date): void {
  const old = before?.metadata.managedFields ?? [];
  const entries = managers
    .filter(({ fields }) => fields.size > 0)
    .map(({ name, operation, apiVersion, subresource, time, fields }): ManagedFieldsEntry => {
      const fieldsV1 = toFieldsV1([...fields].sort());
      const same = old.find(
        (entry) =>
          entry.manager === name &&
          entry.operation === operation &&
          (entry.subresource ?? "") === subresource &&
          deepEqual(entry.fieldsV1, fieldsV1),
      );
      return {
        manager: name,
        operation,
        apiVersion,
        time: (same && time) || timestamp(now),
        fieldsType: "FieldsV1",
        fieldsV1,
        ...(subresource ? { subresource } : {}),
      };
    });
  if (entries.length > 0) object.metadata.managedFields = entries;
  else Reflect.deleteProperty(object.metadata, "managedFields");
}

/** Records an update: what the writer changed is its now, and no longer anybody else's; what is gone is nobody's. */
export function recordUpdate(
  resource: Resource,
  before: KubeObject | undefined,
  after: KubeObject,
  manager: string,
  now: Date,
  subresource = "",
): void {
  const given = after.metadata.managedFields;
  // An author may reset or rewrite the list; `[]` empties it.
  const source = given && !deepEqual(given, before?.metadata.managedFields) ? after : before;
  const old = before ? fieldsOf(resource, before) : new Map<string, unknown>();
  const fields = fieldsOf(resource, after);
  const changed = new Set([...fields].filter(([path, value]) => differs(old, path, value)).map(([path]) => path));
  const managers = readManagers(source).map((each) => ({ ...each, fields: new Set([...each.fields].filter((path) => fields.has(path))) }));
  const mine = managers.find((each) => each.name === manager && each.operation === "Update" && each.subresource === subresource);
  for (const each of managers) if (each !== mine) for (const path of changed) each.fields.delete(path);
  if (mine) for (const path of changed) mine.fields.add(path);
  else if (changed.size > 0)
    managers.push({
      name: manager,
      operation: "Update",
      apiVersion: apiVersionOf(resource),
      subresource,
      time: undefined,
      fields: changed,
    });
  writeManagers(after, managers, before, now);
}

export function differs(fields: ReadonlyMap<string, unknown>, path: string, value: unknown): boolean {
  if (!fields.has(path)) return true;
  return value !== ITEM && !deepEqual(fields.get(path), value);
}

/** A copy without the list of managers, for merging. */
export function withoutManagers(object: KubeObject): KubeObject {
  const copy = clone(object);
  Reflect.deleteProperty(copy.metadata, "managedFields");
  return copy;
}
