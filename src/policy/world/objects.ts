import type { Place } from "#yaml/documents.ts";
import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { RuleRef } from "../rule.ts";

/** Where objects came from: a file, which knows the lines of its text, or a cluster, which has none. */
export type Source = {
  /** The file's path as it was given, or `cluster`. */
  readonly name: string;
  /** Where a path of the document (`spec.ingress[0]`) stands. */
  locate(path: string): Place | undefined;
};

/** A Kubernetes object and where it came from. Nothing about it has been checked. */
export type SourcedObject = { readonly object: unknown; readonly source: Source };

/** Objects of a live cluster. */
export const clusterSource: Source = { name: "cluster", locate: () => undefined };

/** Objects that only exist in memory: a proposed patch, a test. */
export function memorySource(name: string): Source {
  return { name, locate: () => undefined };
}

/** The objects of a List (`kubectl get … -o yaml`); undefined for what is none. Those of a typed list (`PodList`) need not say what they are. */
export function itemsOf(object: unknown): unknown[] | undefined {
  const { kind, apiVersion, items } = objectOf(object);
  if (!Array.isArray(items)) return undefined;
  const typed = textOf(kind).endsWith("List") ? textOf(kind).slice(0, -"List".length) : "";
  return listOf(items).map((item) => {
    const fields = objectOf(item);
    return typed === "" || fields.kind !== undefined ? item : { apiVersion, ...fields, kind: typed };
  });
}

/** The object, or the objects of a List, each with its own place in the source. */
export function flattened({ object, source }: SourcedObject): SourcedObject[] {
  const items = itemsOf(object);
  if (items === undefined) return [{ object, source }];
  return items.flatMap((item, i) => {
    const locate = (path: string) => source.locate(path === "" ? `items[${i}]` : `items[${i}].${path}`);
    return flattened({ object: item, source: source === clusterSource ? source : { name: source.name, locate } });
  });
}

/** Of objects with the same kind and name the last one, as after `kubectl apply`; what has no name stays. */
export function latestOf(objects: readonly SourcedObject[]): SourcedObject[] {
  const found = new Map<unknown, SourcedObject>();
  for (const one of objects) {
    const { kind, namespace, name } = identityOf(one.object);
    found.set(name === "" ? one : `${kind}/${namespace}/${name}`, one);
  }
  return [...found.values()];
}

/** What every object says of itself; empty where it says nothing. */
export function identityOf(object: unknown): {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Record<string, string>;
} {
  const { kind, metadata } = objectOf(object);
  const { namespace, name, labels } = objectOf(metadata);
  return { kind: textOf(kind), namespace: textOf(namespace), name: textOf(name), labels: textsOf(labels) };
}

/** The path of a rule in its author's document: `spec.ingress[0]`. */
export function rulePath(object: unknown, { section, index, spec }: RuleRef): string {
  const { spec: own, specs } = objectOf(object);
  const inSpecs = own === undefined || own === null || (spec > 0 && Array.isArray(specs));
  return `${inSpecs ? `specs[${spec}]` : "spec"}.${section}[${index}]`;
}

/** `file:line:column`; for an object of a cluster, or where the line is not known, the path in the object. */
export function formatPlace(source: Source, path: string): string {
  const place = source.locate(path);
  if (place !== undefined) return `${source.name}:${place.line}:${place.column}`;
  return source === clusterSource ? path : `${source.name} ${path}`;
}
