import { CodedError } from "#runtime/errors.ts";
import type { JsonObject } from "./object.ts";

/** One reason why an object was refused: the field, and what is wrong with it. */
export interface Cause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

export interface ErrorDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly Cause[];
  readonly retryAfterSeconds?: number;
}

/** A request that could not be done. Becomes the HTTP status and the `Status` object of the answer. */
export class ApiError extends CodedError {
  /** HTTP status. */
  readonly httpStatus: number;
  /** Machine-readable reason, e.g. `NotFound`. */
  readonly reason: string;
  readonly details: ErrorDetails | undefined;

  constructor(httpStatus: number, reason: string, message: string, details?: ErrorDetails, options?: ErrorOptions) {
    super(reason, message, options);
    this.httpStatus = httpStatus;
    this.reason = reason;
    this.details = details;
  }

  /** The `v1.Status` object that clients receive. */
  get status(): JsonObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details ? { details: this.details } : {}),
      code: this.httpStatus,
    };
  }
}

/** What an error message calls a resource: `pods`, `deployments.apps`. */
export interface ResourceName {
  readonly group: string;
  readonly resource: string;
}

export const qualified = (of: ResourceName): string => (of.group ? `${of.resource}.${of.group}` : of.resource);

const details = (of: ResourceName, name: string, causes?: readonly Cause[]): ErrorDetails => ({
  name,
  ...(of.group ? { group: of.group } : {}),
  kind: of.resource,
  ...(causes ? { causes } : {}),
});

export const notFound = (of: ResourceName, name: string): ApiError =>
  new ApiError(404, "NotFound", `${qualified(of)} "${name}" not found`, details(of, name));

export const alreadyExists = (of: ResourceName, name: string): ApiError =>
  new ApiError(409, "AlreadyExists", `${qualified(of)} "${name}" already exists`, details(of, name));

export const conflict = (of: ResourceName, name: string, why: string): ApiError =>
  new ApiError(409, "Conflict", `Operation cannot be fulfilled on ${qualified(of)} "${name}": ${why}`, details(of, name));

export const staleObject = (of: ResourceName, name: string): ApiError =>
  conflict(of, name, "the object has been modified; please apply your changes to the latest version and try again");

export const badRequest = (message: string): ApiError => new ApiError(400, "BadRequest", message);

export const forbidden = (of: ResourceName, name: string, why: string): ApiError =>
  new ApiError(403, "Forbidden", `${qualified(of)} "${name}" is forbidden: ${why}`, details(of, name));

export const gone = (message: string): ApiError => new ApiError(410, "Expired", message);

/** 422 with every cause, once each, worded as kube-apiserver does: `Pod "x" is invalid: spec.y: Required value`. */
export function invalid(of: ResourceName & { readonly kind: string }, name: string, found: readonly Cause[]): ApiError {
  // Schema and admission may both miss a field.
  const causes = [...new Map(found.map((cause) => [lineOf(cause), cause])).values()];
  const lines = causes.map(lineOf);
  const text = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const subject = of.group ? `${of.kind}.${of.group}` : of.kind;
  return new ApiError(422, "Invalid", `${subject} "${name}" is invalid: ${text}`, {
    ...details(of, name, causes),
    kind: of.kind,
  });
}

const lineOf = ({ field, message }: Cause): string => (field ? `${field}: ${message}` : message);

const quote = (value: unknown): string => (typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value ?? null));

/** Causes in the wording of kube-apiserver's field errors. */
export const cause = {
  required: (field: string, message = ""): Cause => ({
    reason: "FieldValueRequired",
    field,
    message: message ? `Required value: ${message}` : "Required value",
  }),
  invalid: (field: string, value: unknown, message: string): Cause => ({
    reason: "FieldValueInvalid",
    field,
    message: `Invalid value: ${quote(value)}: ${message}`,
  }),
  unsupported: (field: string, value: unknown, allowed: readonly unknown[]): Cause => ({
    reason: "FieldValueNotSupported",
    field,
    message: `Unsupported value: ${quote(value)}: supported values: ${allowed.map(quote).join(", ")}`,
  }),
  duplicate: (field: string, value: unknown): Cause => ({
    reason: "FieldValueDuplicate",
    field,
    message: `Duplicate value: ${quote(value)}`,
  }),
  forbidden: (field: string, message: string): Cause => ({
    reason: "FieldValueForbidden",
    field,
    message: `Forbidden: ${message}`,
  }),
  type: (field: string, value: unknown, message: string): Cause => ({
    reason: "FieldValueTypeInvalid",
    field,
    message: `Invalid value: ${quote(value)}: ${message}`,
  }),
};
