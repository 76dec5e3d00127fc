import { createHash } from "node:crypto";
import type { JsonObject } from "../object.ts";
import type { Registry } from "../resources/registry.ts";
import { apiVersionOf, type Resource } from "../resources/resource.ts";
import { COMPONENTS } from "../schema/schema.ts";
import { collectComponents } from "./components.ts";
import { pathsOf } from "./paths.ts";

const INFO = { title: "Kubernetes", version: "v1.33.0" };

/** The OpenAPI documents of what is served, made when first asked for and again when resources have changed. */
export interface Documents {
  /** `GET /openapi/v3`: the paths of the group versions' documents. */
  index(): JsonObject;
  /** `GET /openapi/v3/apis/apps/v1`; undefined when nothing is served there. */
  groupVersion(path: string): string | undefined;
  /** `GET /openapi/v2`, everything in one. */
  v2(): JsonObject;
}

/** A finished document, and what its address carries so that clients may keep it. */
interface Kept {
  readonly text: string;
  readonly hash: string;
}

export function createDocuments(registry: Registry): Documents {
  // The documents of built-in groups never change.
  const builtin = new Map<string, Kept>();
  let custom = new Map<string, Kept>();
  let v2: JsonObject | undefined;
  let groups = Map.groupBy(registry.all(), documentPath);
  let { generation } = registry;
  const refresh = () => {
    if (generation === registry.generation) return;
    generation = registry.generation;
    groups = Map.groupBy(registry.all(), documentPath);
    custom = new Map();
    v2 = undefined;
  };
  const document = (path: string, resources: readonly Resource[]): Kept => {
    const cache = resources.some((resource) => resource.custom) ? custom : builtin;
    const known = cache.get(path);
    if (known) return known;
    const text = JSON.stringify(documentV3(resources));
    const made = { text, hash: createHash("sha256").update(text).digest("hex").slice(0, 32).toUpperCase() };
    cache.set(path, made);
    return made;
  };
  return {
    index() {
      refresh();
      const entries = [...groups].map(([path, resources]) => [
        path,
        { serverRelativeURL: `/openapi/v3/${path}?hash=${document(path, resources).hash}` },
      ]);
      return { paths: Object.fromEntries(entries) };
    },
    groupVersion(path) {
      refresh();
      const resources = groups.get(path);
      return resources && document(path, resources).text;
    },
    v2() {
      refresh();
      v2 ??= documentV2(registry.all());
      return v2;
    },
  };
}

const documentPath = (resource: Resource): string => (resource.group ? `apis/${apiVersionOf(resource)}` : `api/${resource.version}`);

function documentV3(resources: readonly Resource[]): JsonObject {
  const schemas = collectComponents(resources);
  return { openapi: "3.0.0", info: INFO, paths: pathsOf(resources, COMPONENTS), components: { schemas } };
}

function documentV2(resources: readonly Resource[]): JsonObject {
  const text = JSON.stringify({ definitions: collectComponents(resources), paths: pathsOf(resources, COMPONENTS) });
  return { swagger: "2.0", info: INFO, ...downgrade(JSON.parse(text.replaceAll(COMPONENTS, "#/definitions/"))) };
}

/** What OpenAPI 2 says differently: references have no company, parameters no schema, and there is no `oneOf`. */
function downgrade(value: unknown): JsonObject {
  const walk = (here: unknown): unknown => {
    if (Array.isArray(here)) return here.map(walk);
    if (typeof here !== "object" || here === null) return here;
    const { allOf, anyOf, oneOf, not, nullable, content, ...rest } = here as JsonObject;
    const [only] = Array.isArray(allOf) && allOf.length === 1 ? (allOf as JsonObject[]) : [];
    const base = only?.$ref ? { ...rest, $ref: only.$ref } : rest;
    if (rest["x-kubernetes-int-or-string"] === true) return { type: "string", format: "int-or-string", description: rest.description };
    if (rest.in && rest.schema) return { ...rest, schema: undefined, type: "string", uniqueItems: true };
    return Object.fromEntries(Object.entries(base).map(([key, part]) => [key, walk(part)]));
  };
  return walk(value) as JsonObject;
}
