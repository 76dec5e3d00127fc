import { ApiError, badRequest, type Cause } from "../errors.ts";
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
  if (mistyped.length > 0) throw unreadable(resource, mistyped, body);
  reportUnknown([...metadata.unknown.map((path) => `metadata.${path}`), ...result.unknown], options);
  const object = {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    ...(result.value as object),
    metadata: metadata.value,
  } as KubeObject;
  if (resource.custom) applyDefaults(resource.schema, object);
  const missing = (required ?? []).filter((key) => key !== "metadata" && object[key] === undefined);
  const causes = [...metadata.causes.map(prefixed), ...result.causes];
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

function unreadable(resource: Resource, mistyped: readonly Cause[], body: Record<string, unknown>): ApiError {
  const text = mistyped.map((cause) => `${cause.field || "body"}: ${cause.message}`).join(", ");
  if (resource.custom) {
    const name = isObject(body.metadata) ? String(body.metadata.name ?? "") : "";
    return new ApiError(422, "Invalid", `${resource.kind}.${resource.group} ${JSON.stringify(name)} is invalid: ${text}`, {
      name,
      group: resource.group,
      kind: resource.kind,
      causes: mistyped,
    });
  }
  return badRequest(`${resource.kind} in version ${JSON.stringify(resource.version)} cannot be handled as a ${resource.kind}: ${text}`);
}

function reportUnknown(unknown: readonly string[], options: WriteOptions): void {
  if (unknown.length === 0 || options.fieldValidation === "Ignore") return;
  if (options.fieldValidation === "Strict") {
    throw badRequest(`strict decoding error: ${unknown.map((path) => `unknown field ${JSON.stringify(path)}`).join(", ")}`);
  }
  for (const path of unknown) options.warn?.(`unknown field ${JSON.stringify(path)}`);
}
