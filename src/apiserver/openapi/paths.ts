import type { JsonObject } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import { kindComponent } from "./components.ts";

const PARAMETERS = ["dryRun", "fieldManager", "fieldValidation"].map((name) => ({
  name,
  in: "query",
  schema: { type: "string", uniqueItems: true },
  description:
    name === "fieldValidation" ? "What to do with unknown fields: Strict, Warn or Ignore." : "See the API concepts of Kubernetes.",
}));

const ACTIONS = { get: "get", post: "post", put: "put", patch: "patch", delete: "delete" } as const;
type Method = keyof typeof ACTIONS;

/** The paths of a group version; clients look here for kinds and for the parameters that writes take. */
export function pathsOf(resources: readonly Resource[], refPrefix: string): JsonObject {
  const paths: JsonObject = {};
  for (const resource of resources) {
    const root = resource.group ? `/apis/${resource.group}/${resource.version}` : `/api/${resource.version}`;
    const base = `${root}${resource.namespaced ? "/namespaces/{namespace}" : ""}/${resource.resource}`;
    const scope = resource.namespaced ? [pathParameter("namespace")] : [];
    if (resource.namespaced) paths[`${root}/${resource.resource}`] = operations(resource, refPrefix, ["get"], true, []);
    paths[base] = operations(resource, refPrefix, ["get", "post", "delete"], true, scope);
    const one = [...scope, pathParameter("name")];
    paths[`${base}/{name}`] = operations(resource, refPrefix, ["get", "put", "patch", "delete"], false, one);
    if (resource.subresources.includes("status")) {
      paths[`${base}/{name}/status`] = operations(resource, refPrefix, ["get", "put", "patch"], false, one);
    }
  }
  return paths;
}

const pathParameter = (name: string) => ({ name, in: "path", required: true, schema: { type: "string", uniqueItems: true } });

function operations(
  resource: Resource,
  refPrefix: string,
  methods: readonly Method[],
  collection: boolean,
  parameters: readonly JsonObject[],
): JsonObject {
  const { group, version, kind } = resource;
  const result: JsonObject = { parameters };
  for (const method of methods) {
    const list = collection && method === "get";
    const schema = { $ref: `${refPrefix}${kindComponent(resource)}${list ? "List" : ""}` };
    result[method] = {
      operationId: `${method}${collection ? "Collection" : ""}_${group}_${version}_${resource.resource}_${parameters.length}`,
      "x-kubernetes-action": list ? "list" : collection && method === "delete" ? "deletecollection" : ACTIONS[method],
      "x-kubernetes-group-version-kind": { group, version, kind },
      parameters: ["post", "put", "patch"].includes(method) ? PARAMETERS : [],
      responses: { 200: { description: "OK", content: { "application/json": { schema } } } },
    };
  }
  return result;
}
