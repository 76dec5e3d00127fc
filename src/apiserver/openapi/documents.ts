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

export function createDocuments(registry: Registry): Documents {
  const cache = new Map<string, unknown>();
  let generation = -1;
  const cached = <T>(key: string, make: () => T): T => {
    if (generation !== registry.generation) cache.clear();
    generation = registry.generation;
    if (!cache.has(key)) cache.set(key, make());
    return cache.get(key) as T;
  };
  const groups = () => cached("", () => Map.groupBy(registry.all(), documentPath));
  return {
    index: () => ({
      paths: Object.fromEntries(
        [...groups()].map(([path, resources]) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hashOf(resources, registry)}` }]),
      ),
    }),
    groupVersion(path) {
      const resources = groups().get(path);
      return resources && cached(path, () => JSON.stringify(documentV3(resources)));
    },
    v2: () => cached("v2", () => documentV2(registry.all())),
  };
}

const documentPath = (resource: Resource): string => (resource.group ? `apis/${apiVersionOf(resource)}` : `api/${resource.version}`);

/** Custom resources change; the built-in ones are as old as the program. */
const hashOf = (resources: readonly Resource[], registry: Registry): string =>
  resources.some(({ custom }) => custom) ? `c${registry.generation}` : "builtin";

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
