import { type Cause, cause } from "../errors.ts";
import { asArray, asObject, at, child, isObject, type JsonObject, type KubeObject, timestamp } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { fill, items } from "./fields.ts";
import type { Rules } from "./rules.ts";

/** CustomResourceDefinitions: structural schemas only, and they are established at once. */
export const definitionRules: Rules = {
  defaults(definition) {
    const spec = child(definition as unknown as JsonObject, "spec");
    const names = child(spec, "names");
    const kind = String(names.kind ?? "");
    fill(names, { singular: kind.toLowerCase(), listKind: `${kind}List` });
    fill(spec, { conversion: { strategy: "None" } });
  },
  validate: (definition, before, core) => checkDefinition(definition, before, core),
  prepare(definition, before, core) {
    definition.status = establishedStatus(definition, before, core);
    return [];
  },
};

function checkDefinition(definition: KubeObject, before: KubeObject | undefined, core: Core): Cause[] {
  const spec = asObject(definition.spec);
  const names = asObject(spec.names);
  const causes: Cause[] = [];
  const expected = `${String(names.plural)}.${String(spec.group)}`;
  if (definition.metadata.name !== expected)
    causes.push(cause.invalid("metadata.name", definition.metadata.name, `must be spec.names.plural+"."+spec.group`));
  if (!["Cluster", "Namespaced"].includes(String(spec.scope)))
    causes.push(cause.unsupported("spec.scope", spec.scope, ["Cluster", "Namespaced"]));
  if (before && at(before, "spec", "scope") !== spec.scope) causes.push(cause.invalid("spec.scope", spec.scope, "field is immutable"));
  const versions = items(spec, "versions");
  const stored = versions.filter((version) => version.storage === true).length;
  if (stored !== 1) causes.push(cause.invalid("spec.versions", stored, "must have exactly one version marked as storage version"));
  versions.forEach((version, index) => {
    const schema = at(version, "schema", "openAPIV3Schema");
    const path = `spec.versions[${index}].schema.openAPIV3Schema`;
    if (!isObject(schema)) causes.push(cause.required(path, "schemas are required"));
    else checkStructural(schema, path, causes);
  });
  if (core.registry.all().some((other) => !other.custom && other.group === spec.group)) {
    causes.push(cause.invalid("spec.group", spec.group, "is a group of the server itself"));
  }
  return causes;
}

/** Every value has a type, and logical parts add no structure of their own. */
function checkStructural(schema: JsonObject, path: string, causes: Cause[]): void {
  if (causes.length > 20) return;
  const open = schema["x-kubernetes-preserve-unknown-fields"] === true || schema["x-kubernetes-int-or-string"] === true;
  if (!schema.type && !open) causes.push(cause.required(`${path}.type`, "must not be empty for specified object fields"));
  if (schema.type === "array" && !isObject(schema.items)) causes.push(cause.required(`${path}.items`, "must be specified"));
  if (schema.properties && isObject(schema.additionalProperties))
    causes.push(cause.forbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive"));
  if (typeof schema.pattern === "string" && !isRegex(schema.pattern))
    causes.push(cause.invalid(`${path}.pattern`, schema.pattern, "must be a valid regular expression"));
  for (const [name, part] of Object.entries(asObject(schema.properties)))
    checkStructural(asObject(part), `${path}.properties[${name}]`, causes);
  if (isObject(schema.items)) checkStructural(schema.items, `${path}.items`, causes);
  if (isObject(schema.additionalProperties)) checkStructural(schema.additionalProperties, `${path}.additionalProperties`, causes);
}

function isRegex(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}

function establishedStatus(definition: KubeObject, before: KubeObject | undefined, core: Core): JsonObject {
  const spec = asObject(definition.spec);
  const stored = items(spec, "versions").find((version) => version.storage === true)?.name;
  const versions = new Set([...asArray(at(before, "status", "storedVersions")), stored]);
  const known = asArray(at(before, "status", "conditions"));
  const at_ = timestamp(core.now());
  const conditions = [
    { type: "NamesAccepted", status: "True", lastTransitionTime: at_, reason: "NoConflicts", message: "no conflicts found" },
    {
      type: "Established",
      status: "True",
      lastTransitionTime: at_,
      reason: "InitialNamesAccepted",
      message: "the initial names have been accepted",
    },
  ];
  return { conditions: known.length > 0 ? known : conditions, acceptedNames: asObject(spec.names), storedVersions: [...versions] };
}
