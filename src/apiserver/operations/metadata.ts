import { randomInt, randomUUID } from "node:crypto";
import { badRequest, type Cause, cause, forbidden, notFound } from "../errors.ts";
import { at, type KubeObject, timestamp } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import type { Core } from "./core.ts";

const LETTERS = "bcdfghjklmnpqrstvwxz2456789";

/** Five random characters that spell no words, as Kubernetes appends to `generateName`. */
export const nameSuffix = (): string => Array.from({ length: 5 }, () => LETTERS[randomInt(LETTERS.length)]).join("");

/** Gives a new object what the server decides: name from `generateName`, namespace, uid, creation time; drops what is not the client's. */
export function fillMetadata(core: Core, resource: Resource, namespace: string | undefined, object: KubeObject): void {
  const meta = object.metadata;
  if (!meta.name && meta.generateName) meta.name = meta.generateName.slice(0, 58) + nameSuffix();
  setNamespace(resource, namespace, object);
  meta.uid = randomUUID();
  meta.creationTimestamp = timestamp(core.now());
  for (const field of ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"]) {
    Reflect.deleteProperty(meta, field);
  }
  if (hasGeneration(resource)) meta.generation = 1;
}

/** The request's namespace wins; a different one in the object is refused. */
export function setNamespace(resource: Resource, namespace: string | undefined, object: KubeObject): void {
  const meta = object.metadata;
  if (!resource.namespaced) {
    Reflect.deleteProperty(meta, "namespace");
    return;
  }
  if (meta.namespace && namespace && meta.namespace !== namespace) {
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (${meta.namespace} and ${namespace})`,
    );
  }
  meta.namespace = namespace ?? meta.namespace ?? "default";
}

/** Refuses new objects in namespaces that do not exist or are going away. */
export function checkNamespace(core: Core, resource: Resource, object: KubeObject): void {
  if (!resource.namespaced) return;
  const name = object.metadata.namespace ?? "";
  const namespace = core.store.get("namespaces", name);
  if (!namespace) throw notFound({ group: "", resource: "namespaces" }, name);
  if (namespace.metadata.deletionTimestamp) {
    const why = `unable to create new content in namespace ${name} because it is being terminated`;
    throw forbidden(resource, object.metadata.name, why);
  }
}

const WITHOUT_GENERATION: ReadonlySet<string> = new Set(["nodes", "namespaces", "services", "leases.coordination.k8s.io"]);

/** Whether `metadata.generation` counts the changes of the resource's specification. */
export function hasGeneration(resource: Resource): boolean {
  if (resource.custom) return true;
  return Boolean(resource.schema.properties?.spec) && !WITHOUT_GENERATION.has(resource.storage);
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const QUALIFIED = /^([a-zA-Z0-9.-]+\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;
/** Kinds whose names are path segments only (`system:node`). */
const FREE_NAMES: ReadonlySet<string> = new Set(["roles", "rolebindings", "clusterroles", "clusterrolebindings"]);
const LABEL_NAMES: ReadonlySet<string> = new Set(["namespaces", "services"]);

export function checkMetadata(resource: Resource, object: KubeObject): Cause[] {
  const { name, labels, annotations } = object.metadata;
  if (!name) return [cause.required("metadata.name", "name or generateName is required")];
  const causes = [...checkName(resource, name), ...checkLabels(labels ?? {})];
  for (const key of Object.keys(annotations ?? {})) {
    if (!isQualifiedName(key))
      causes.push(cause.invalid("metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"));
  }
  const size = Object.entries(annotations ?? {}).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  if (size > 262_144)
    causes.push({ reason: "FieldValueTooLong", field: "metadata.annotations", message: "Too long: may not be more than 262144 bytes" });
  return causes;
}

function checkName(resource: Resource, name: string): Cause[] {
  const bad = (message: string) => [cause.invalid("metadata.name", name, message)];
  if (FREE_NAMES.has(resource.resource)) return /^\.\.?$|[/%]/.test(name) ? bad("may not be '.' or '..' or contain '/' or '%'") : [];
  if (LABEL_NAMES.has(resource.storage)) {
    const fits = LABEL.test(name) && name.length <= 63;
    return fits
      ? []
      : bad(
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', at most 63, and must start and end with an alphanumeric character",
        );
  }
  const fits = SUBDOMAIN.test(name) && name.length <= 253;
  return fits
    ? []
    : bad(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
      );
}

export const isQualifiedName = (key: string): boolean => QUALIFIED.test(key) && (key.split("/").at(-1)?.length ?? 0) <= 63;

export function checkLabels(labels: Readonly<Record<string, string>>, path = "metadata.labels"): Cause[] {
  const causes: Cause[] = [];
  for (const [key, value] of Object.entries(labels)) {
    if (!isQualifiedName(key))
      causes.push(
        cause.invalid(
          path,
          key,
          "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        ),
      );
    if (!LABEL_VALUE.test(value) || value.length > 63) {
      causes.push(
        cause.invalid(
          path,
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, at most 63",
        ),
      );
    }
  }
  return causes;
}

/** The parts of an object that its author decides: everything but metadata and, where it is a subresource, status. */
export function specification(object: KubeObject, withStatus: boolean): Record<string, unknown> {
  const { metadata, status, ...rest } = object;
  return withStatus && at(object, "status") !== undefined ? { ...rest, status } : rest;
}
