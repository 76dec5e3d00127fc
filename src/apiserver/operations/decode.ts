import { ApiError, badRequest, type Cause, invalid } from "../errors.ts";
import { isObject, type KubeObject } from "../object.ts";
import { apiVersionOf, type Resource } from "../resources/resource.ts";
import { conform } from "../schema/conform.ts";
import { applyDefaults } from "../schema/defaults.ts";
import { OBJECT_META, refTo, resolveModel } from "../schema/models.ts";
import type { WriteOptions } from "./core.ts";

/** A body that can be read as the resource's kind, and what the schema still holds against it. */
export interface Decoded {
  readonly object: KubeObject;
  readonly causes: readonly Cause[];
}

/**
 * Reads a body as an object of the resource: right kind, right JSON types, unknown fields dropped (and reported as the
 * client asked), defaults of custom resources set. Returns a copy. Throws 400 for what cannot be read.
 */
export function decodeObject(resource: Resource, body: unknown, options: WriteOptions): Decoded {
  if (!isObject(body)) throw badRequest("the body of the request must be a JSON object");
  checkKind(resource, body.apiVersion, body.kind);
  const { metadata: rawMetadata, ...rest } = body;
  const metadata = conform(refTo(OBJECT_META), rawMetadata ?? {}, { resolve: resolveModel, dropNulls: true });
  const { required, ...schema } = resource.schema;
  if (!resource.custom && rest.spec === undefined && needsSpec(resource)) rest.spec = {};
  const result = conform(schema, rest, { resolve: resource.resolve, dropNulls: !resource.custom });
  const mistyped = [...metadata.mistyped.map(prefixed), ...result.mistyped];
  const broken = [...metadata.causes.map(prefixed), ...result.causes];
  const unknown = [...metadata.unknown.map((path) => `metadata.${path}`), ...result.unknown];
  const strict = options.fieldValidation === "Strict" ? unknown.map(unknownField) : [];
  if (resource.custom && (mistyped.length > 0 || (strict.length > 0 && broken.length > 0)))
    throw invalid(resource, String(rawName(body) ?? ""), [...strict, ...mistyped, ...broken]);
  if (mistyped.length > 0) throw unreadable(resource, mistyped);
  reportUnknown(unknown, strict, options);
  const object = {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    ...(result.value as object),
    metadata: metadata.value,
  } as KubeObject;
  if (resource.custom) applyDefaults(resource.schema, object);
  const missing = (required ?? []).filter((key) => key !== "metadata" && object[key] === undefined);
  const causes = [...broken];
  for (const key of missing) causes.push({ reason: "FieldValueRequired", field: key, message: "Required value" });
  // Status of built-in kinds comes from controllers, which fill it in step by step.
  return { object, causes: resource.custom ? causes : causes.filter(({ field }) => !field.startsWith("status")) };
}

/** A missing specification lacks the same fields as an empty one. */
function needsSpec({ schema, resolve }: Resource): boolean {
  const spec = schema.properties?.spec;
  return spec !== undefined && (resolve(spec).required?.length ?? 0) > 0;
}

const prefixed = (cause: Cause): Cause => ({ ...cause, field: cause.field ? `metadata.${cause.field}` : "metadata" });

function checkKind(resource: Resource, apiVersion: unknown, kind: unknown): void {
  const expected = apiVersionOf(resource);
  if (kind !== undefined && kind !== resource.kind) {
    throw badRequest(
      `the object's kind ${JSON.stringify(kind)} does not fit the resource ${resource.resource}, which takes ${resource.kind}`,
    );
  }
  if (apiVersion !== undefined && apiVersion !== expected) {
    throw badRequest(`the API version in the data (${String(apiVersion)}) does not match the expected API version (${expected})`);
  }
}

const rawName = (body: Readonly<Record<string, unknown>>): unknown => (isObject(body.metadata) ? body.metadata.name : undefined);

function unreadable(resource: Resource, mistyped: readonly Cause[]): ApiError {
  const text = mistyped.map((cause) => `${cause.field || "body"}: ${cause.message}`).join(", ");
  return badRequest(`${resource.kind} in version ${JSON.stringify(resource.version)} cannot be handled as a ${resource.kind}: ${text}`);
}

const unknownField = (field: string): Cause => ({ reason: "FieldValueInvalid", field, message: `unknown field ${JSON.stringify(field)}` });

function reportUnknown(unknown: readonly string[], strict: readonly Cause[], options: WriteOptions): void {
  if (strict.length > 0) {
    const message = `strict decoding error: ${strict.map((one) => one.message).join(", ")}`;
    throw new ApiError(400, "BadRequest", message, { causes: strict });
  }
  if (options.fieldValidation === "Ignore") return;
  for (const path of unknown) options.warn?.(`unknown field ${JSON.stringify(path)}`);
}
