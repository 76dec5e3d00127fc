/**
 * A schema in the shape of OpenAPI v3 as Kubernetes uses it: structural, with `x-kubernetes-*` extensions. The same object
 * serves validation, pruning, defaulting, patching, server-side apply, OpenAPI documents and `kubectl explain`.
 */
export interface Schema {
  $ref?: string;
  type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  format?: string;
  description?: string;
  title?: string;
  default?: unknown;
  nullable?: boolean;
  enum?: readonly unknown[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: readonly string[];
  minProperties?: number;
  maxProperties?: number;
  allOf?: readonly Schema[];
  anyOf?: readonly Schema[];
  oneOf?: readonly Schema[];
  not?: Schema;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
  "x-kubernetes-embedded-resource"?: boolean;
  "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  "x-kubernetes-list-map-keys"?: readonly string[];
  "x-kubernetes-map-type"?: "atomic" | "granular";
  "x-kubernetes-patch-strategy"?: string;
  "x-kubernetes-patch-merge-key"?: string;
  "x-kubernetes-group-version-kind"?: readonly { group: string; version: string; kind: string }[];
  "x-kubernetes-validations"?: readonly { readonly rule: string; readonly message?: string }[];
}

/** Where components live in an OpenAPI v3 document. */
export const COMPONENTS = "#/components/schemas/";

/** Finds the schema behind a `$ref`. */
export type Resolve = (schema: Schema) => Schema;

/** For schemas without references (custom resources). */
export const resolveNothing: Resolve = (schema) => schema;
