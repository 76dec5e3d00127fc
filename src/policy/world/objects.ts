import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { RuleRef } from "../rule.ts";

/** A place in a file, both numbers from 1. */
export type Place = { readonly line: number; readonly column: number };

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

/** The object, or the objects of a List (`kubectl get … -o yaml`), each with its own place in the source. */
export function flattened({ object, source }: SourcedObject): SourcedObject[] {
  const { kind, items } = objectOf(object);
  if (!Array.isArray(items)) return [{ object, source }];
  const itemKind = textOf(kind).replace(/List$/, "");
  return listOf(items).flatMap((item, i) => {
    const locate = (path: string) => source.locate(path === "" ? `items[${i}]` : `items[${i}].${path}`);
    // The items of a typed list (`PodList`) need not say their kind.
    const typed = objectOf(item).kind === undefined && itemKind !== "" ? { ...objectOf(item), kind: itemKind } : item;
    return flattened({ object: typed, source: source === clusterSource ? source : { name: source.name, locate } });
  });
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
