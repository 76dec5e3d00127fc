import { isObject } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import { componentName, LIST_META, OBJECT_META, refTo, resolveModel } from "../schema/models.ts";
import { COMPONENTS, type Schema } from "../schema/schema.ts";

/** All schemas of a document, by component name. */
export type Components = Record<string, Schema>;

/** The component name of a resource's kind: `io.k8s.api.apps.v1.Deployment`, `io.cilium.v2.CiliumNetworkPolicy`. */
export function kindComponent(resource: Resource): string {
  const { group, version, kind } = resource;
  if (resource.custom) return [...group.split(".").reverse(), version, kind].join(".");
  return componentName(`${group.split(".")[0] || "core"}/${version}.${kind}`);
}

/** The kinds, their lists, and everything these refer to. */
export function collectComponents(resources: readonly Resource[]): Components {
  const components: Components = {};
  for (const resource of resources) {
    const name = kindComponent(resource);
    components[name] = published(resource.custom ? withMetadata(resource.schema) : resource.schema, components);
    components[`${name}List`] = published(listSchema(resource, name), components);
  }
  if (resources.length > 0) {
    for (const model of ["meta/v1.DeleteOptions", "meta/v1.Status", LIST_META]) published(refTo(model), components);
  }
  return components;
}

function withMetadata(schema: Schema): Schema {
  const metadata: Schema = { ...refTo(OBJECT_META), description: "Standard object's metadata." };
  return { ...schema, properties: { ...schema.properties, metadata } };
}

function listSchema(resource: Resource, name: string): Schema {
  const { group, version, listKind } = resource;
  return {
    type: "object",
    description: `${listKind} is a list of ${resource.kind}.`,
    required: ["items"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: refTo(LIST_META),
      items: { type: "array", items: { $ref: COMPONENTS + name } },
    },
    "x-kubernetes-group-version-kind": [{ group, version, kind: listKind }],
  };
}

/** The schema as documents show it, with the components it refers to put into `components`. */
function published(schema: Schema, components: Components): Schema {
  if (schema.$ref) return publishedReference(schema, components);
  const result: Schema = { ...schema };
  if (schema.items) result.items = published(schema.items, components);
  if (schema.properties) {
    const entries = Object.entries(schema.properties).map(([key, part]) => [key, published(part, components)] as const);
    result.properties = Object.fromEntries(entries);
  }
  if (isObject(schema.additionalProperties)) result.additionalProperties = published(schema.additionalProperties as Schema, components);
  if (schema["x-kubernetes-int-or-string"]) {
    result.format = "int-or-string";
    result.oneOf = [{ type: "integer" }, { type: "string" }];
  }
  return result;
}

/** OpenAPI 3.0 ignores what stands beside a `$ref`, so a description goes around it. */
function publishedReference(schema: Schema, components: Components): Schema {
  const { $ref = "", ...beside } = schema;
  const name = $ref.slice(COMPONENTS.length);
  const target = resolveModel({ $ref });
  if (!(name in components) && !target.$ref) {
    components[name] = {};
    components[name] = published(target, components);
  }
  return Object.keys(beside).length === 0 ? { $ref } : { ...beside, allOf: [{ $ref }] };
}
