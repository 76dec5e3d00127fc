import { asArray, asObject, at, type JsonObject, type KubeObject } from "../object.ts";
import { customColumns } from "../printer/custom.ts";
import { resolveNothing, type Schema } from "../schema/schema.ts";
import { ALL_VERBS } from "./builtin.ts";
import type { Resource, ScalePaths } from "./resource.ts";

/** One version of a CustomResourceDefinition. */
interface DefinedVersion {
  readonly name: string;
  readonly served?: boolean;
  readonly storage?: boolean;
  readonly schema?: { readonly openAPIV3Schema?: Schema };
  readonly subresources?: JsonObject;
  readonly additionalPrinterColumns?: readonly JsonObject[];
}

/** The resources, one a served version, that a CustomResourceDefinition defines. */
export function customResources(definition: KubeObject): Resource[] {
  const spec = asObject(definition.spec);
  const names = asObject(spec.names);
  const versions = asArray(spec.versions) as readonly DefinedVersion[];
  const stored = versions.find((version) => version.storage)?.name ?? versions[0]?.name ?? "v1";
  const group = String(spec.group);
  const plural = String(names.plural);
  const kind = String(names.kind);
  return versions
    .filter((version) => version.served !== false)
    .map((version) => ({
      group,
      version: version.name,
      resource: plural,
      singular: String(names.singular ?? kind.toLowerCase()),
      kind,
      listKind: String(names.listKind ?? `${kind}List`),
      namespaced: spec.scope === "Namespaced",
      shortNames: asArray(names.shortNames).map(String),
      categories: asArray(names.categories).map(String),
      verbs: ALL_VERBS,
      subresources: Object.keys(asObject(version.subresources)).filter((name) => name === "status" || name === "scale"),
      ...scaleOf(version),
      storage: `${plural}.${group}`,
      storageApiVersion: `${group}/${stored}`,
      schema: rootSchema(version, group, kind),
      resolve: resolveNothing,
      custom: true,
      columns: customColumns(version.additionalPrinterColumns ?? []),
    }));
}

/** The server itself knows apiVersion, kind and metadata; a definition need not list them. */
function rootSchema(version: DefinedVersion, group: string, kind: string): Schema {
  const schema = version.schema?.openAPIV3Schema ?? { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return {
    ...schema,
    properties: {
      apiVersion: { type: "string", description: "The versioned schema of this object." },
      kind: { type: "string", description: "What this object is." },
      metadata: { type: "object" },
      ...schema.properties,
    },
    "x-kubernetes-group-version-kind": [{ group, version: version.name, kind }],
  };
}

function scaleOf(version: DefinedVersion): { scale?: ScalePaths } {
  const scale = at(version.subresources, "scale");
  if (!scale) return {};
  const path = (key: string) =>
    String(at(scale, key) ?? "")
      .replace(/^\./, "")
      .split(".");
  const selector = at(scale, "labelSelectorPath");
  return {
    scale: {
      specReplicas: path("specReplicasPath"),
      statusReplicas: path("statusReplicasPath"),
      ...(typeof selector === "string" ? { labelSelector: path("labelSelectorPath") } : {}),
    },
  };
}
