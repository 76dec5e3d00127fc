import { ApiError, badRequest, notFound } from "../errors.ts";
import { asObject, isObject, type JsonObject, type KubeObject, objectKey } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { insert } from "../operations/create.ts";
import { decodeObject } from "../operations/decode.ts";
import { fillMetadata, setNamespace } from "../operations/metadata.ts";
import type { PatchOptions, Target } from "../operations/patch.ts";
import { replace } from "../operations/update.ts";
import { apiVersionOf, fromStorage, hasStatus, type Resource } from "../resources/resource.ts";
import { checkKeys, fieldsOf, ITEM, pathText, SEPARATOR } from "./fieldset.ts";
import { differs, type Manager, readManagers, withoutManagers, writeManagers } from "./managed.ts";
import { mergeTyped, pruneTyped } from "./typed.ts";

/**
 * Server-side apply: the object gets what the configuration says and loses what this manager said before and no longer
 * says. Fields that others own and that would change are conflicts (409), unless forced.
 */
export function applyServerSide(
  core: Core,
  resource: Resource,
  target: Target,
  configuration: unknown,
  options: PatchOptions,
): { readonly object: KubeObject; readonly created: boolean } {
  const applied = readConfiguration(resource, target, configuration, options);
  const stored = core.store.get(resource.storage, objectKey(applied.metadata.namespace, target.name));
  const manager = options.fieldManager ?? "unknown";
  if (!stored) {
    if (options.subresource) throw notFound(resource, target.name);
    return { object: createApplied(core, resource, applied, manager, options), created: true };
  }
  const live = fromStorage(resource, stored);
  const managers = readManagers(live);
  const own = { name: manager, apiVersion: apiVersionOf(resource), subresource: options.subresource ?? "" };
  const mine = managers.find((each) => each.operation === "Apply" && each.name === own.name && each.subresource === own.subresource);
  const others = managers.filter((each) => each !== mine);
  const wanted = fieldsOf(resource, applied);
  const conflicts = findConflicts(others, fieldsOf(resource, live), wanted);
  resolveConflicts(others, conflicts, options.force === true || comesFromClientSide(resource, live, manager, conflicts));

  const merged = mergeTyped(resource, withoutManagers(live), applied) as JsonObject;
  const dropped = [...(mine?.fields ?? [])].filter((path) => !wanted.has(path) && !isHeld(path, wanted.keys(), others));
  const gone = new Set(dropped);
  const object = pruneTyped(resource, merged, (path) => gone.has(path)) as unknown as KubeObject;
  const next = [...others, { ...own, operation: "Apply" as const, time: mine?.time, fields: new Set(wanted.keys()) }];
  writeManagers(object, forget(next, gone), live, core.now());
  const { force, ...rest } = options;
  return {
    object: replace(core, resource, stored, object, validate(resource, object, options), { ...rest, applied: true }),
    created: false,
  };
}

function readConfiguration(resource: Resource, target: Target, body: unknown, options: PatchOptions): KubeObject {
  if (!isObject(body)) throw badRequest("an apply configuration must be an object");
  if (!body.apiVersion || !body.kind) throw badRequest("an apply configuration must have apiVersion and kind");
  const metadata = asObject(body.metadata);
  if (Array.isArray(metadata.managedFields) && metadata.managedFields.length > 0) throw badRequest("metadata.managedFields must be nil");
  if (metadata.name && metadata.name !== target.name)
    throw badRequest(`the name of the object (${String(metadata.name)}) does not match the name on the URL (${target.name})`);
  const { object } = decodeObject(
    { ...resource, schema: withoutDefaults(resource) },
    { ...body, metadata: { ...metadata, name: target.name } },
    options,
  );
  Reflect.deleteProperty(object.metadata, "managedFields");
  checkKeys(resource, object);
  setNamespace(resource, target.namespace, object);
  if (hasStatus(resource) && !options.subresource) Reflect.deleteProperty(object, "status");
  return object;
}

/** A configuration is what its author said and nothing more, so defaults of custom resources must wait. */
function withoutDefaults(resource: Resource): Resource["schema"] {
  if (!resource.custom) return resource.schema;
  return JSON.parse(
    JSON.stringify(resource.schema, (key, value: unknown) => (key === "default" && !isObject(value) ? undefined : value)),
  ) as Resource["schema"];
}

/** What the schema says about the merged object; the configuration alone need not be complete. */
function validate(resource: Resource, object: KubeObject, options: PatchOptions) {
  const { causes, object: complete } = decodeObject(resource, object, { ...options, fieldValidation: "Ignore" });
  Object.assign(object, complete);
  return causes;
}

function createApplied(core: Core, resource: Resource, applied: KubeObject, name: string, options: PatchOptions): KubeObject {
  const fields = new Set(fieldsOf(resource, applied).keys());
  const manager: Manager = { name, operation: "Apply", apiVersion: apiVersionOf(resource), subresource: "", time: undefined, fields };
  const causes = validate(resource, applied, options);
  fillMetadata(core, resource, applied.metadata.namespace, applied);
  writeManagers(applied, [manager], undefined, core.now());
  return insert(core, resource, applied, causes, { ...options, applied: true });
}

interface Conflict {
  readonly manager: Manager;
  readonly path: string;
}

/** Fields of others that would get another value. */
function findConflicts(others: readonly Manager[], live: ReadonlyMap<string, unknown>, wanted: ReadonlyMap<string, unknown>): Conflict[] {
  const changed = [...wanted].filter(([path, value]) => value !== ITEM && differs(live, path, value)).map(([path]) => path);
  return others.flatMap((manager) => changed.filter((path) => manager.fields.has(path)).map((path) => ({ manager, path })));
}

function resolveConflicts(others: readonly Manager[], conflicts: readonly Conflict[], force: boolean): void {
  if (conflicts.length === 0) return;
  if (!force) throw conflictError(conflicts);
  for (const { path } of conflicts) for (const other of others) other.fields.delete(path);
}

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * kubectl may go over from client-side to server-side apply: what it said itself before, as its annotation tells, is no
 * conflict, whoever is on record for it. Another field manager's name opts out.
 */
function comesFromClientSide(resource: Resource, live: KubeObject, manager: string, conflicts: readonly Conflict[]): boolean {
  const annotation = live.metadata.annotations?.[LAST_APPLIED];
  if (manager !== "kubectl" || annotation === undefined || conflicts.length === 0) return false;
  try {
    const said = fieldsOf(resource, JSON.parse(annotation));
    return conflicts.every(({ path }) => said.has(path));
  } catch {
    // An annotation that somebody broke says nothing.
    return false;
  }
}

function conflictError(conflicts: readonly Conflict[]): ApiError {
  const groups = Map.groupBy(
    conflicts,
    ({ manager }) =>
      `${JSON.stringify(manager.name)}${manager.subresource ? ` with subresource ${JSON.stringify(manager.subresource)}` : ""} using ${manager.apiVersion}`,
  );
  const several = conflicts.length > 1;
  const parts = [...groups].map(([who, list]) =>
    several
      ? `conflicts with ${who}:\n${list.map(({ path }) => `- ${pathText(path)}`).join("\n")}`
      : `conflict with ${who}: ${pathText(list[0]?.path ?? "")}`,
  );
  const causes = [...groups].flatMap(([who, list]) =>
    list.map(({ path }) => ({ reason: "FieldManagerConflict", message: `conflict with ${who}`, field: pathText(path) })),
  );
  return new ApiError(409, "Conflict", `Apply failed with ${conflicts.length} conflict${several ? "s" : ""}: ${parts.join("\n")}`, {
    causes,
  });
}

/** Whether anybody still says something about the field or about what is below it. */
function isHeld(path: string, wanted: Iterable<string>, others: readonly Manager[]): boolean {
  const below = path + SEPARATOR;
  for (const other of wanted) if (other.startsWith(below)) return true;
  return others.some(({ fields }) => [...fields].some((field) => field === path || field.startsWith(below)));
}

/** Nobody owns what is gone, nor what was in it. */
function forget(managers: readonly Manager[], gone: ReadonlySet<string>): readonly Manager[] {
  for (const { fields } of managers) {
    for (const path of fields) if (gone.has(path)) fields.delete(path);
  }
  return managers;
}
