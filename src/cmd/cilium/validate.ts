import { type Document, isMap, LineCounter, parseAllDocuments } from "yaml";
import { locate } from "#policy/locate.ts";
import { parsePolicy } from "#policy/parse.ts";
import type { Issue } from "#policy/rule.ts";

export interface DocumentResult {
  /** `file: Kind namespace/name`. */
  readonly object: string;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

const POLICY_KINDS = ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy", "ClusterNetworkPolicy"];

interface PolicyLike {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly items?: readonly PolicyLike[];
}

/** Checks every policy of a file of YAML documents (JSON is YAML) and of the Lists in it; objects of other kinds are passed over. */
export function validateDocuments(file: string, text: string): DocumentResult[] {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines });
  const documents: Document[] = Array.isArray(parsed) ? parsed : [];
  return documents.flatMap((document): DocumentResult[] => {
    const syntax = document.errors.map((error) => `${file}:${place(error.linePos?.[0])} ${error.message.split("\n")[0]}`);
    if (syntax.length > 0) return [{ object: file, errors: syntax, warnings: [] }];
    const object = document.toJS() as PolicyLike | null;
    if (object === null) return [];
    if (!isMap(document.contents)) return [{ object: file, errors: [`${file}: a Kubernetes object is needed`], warnings: [] }];
    const where = (path: string) => `${file}:${place(placeIn(document, path, lines))}`;
    if (object.items === undefined) return validateObject(file, object, "", where);
    return object.items.flatMap((item, index) => validateObject(file, item, `items[${index}]`, where));
  });
}

/** One object; `at` is its path in the document, empty for the document itself. */
function validateObject(file: string, object: PolicyLike, at: string, where: (path: string) => string): DocumentResult[] {
  const name = [object.metadata?.namespace, object.metadata?.name ?? "(no name)"].filter(Boolean).join("/");
  const title = `${file}: ${object.kind} ${name}`;
  const fromRoot = (path: string) => [at, path].filter(Boolean).join(".");
  if (!POLICY_KINDS.includes(object.kind ?? "")) {
    const ours = object.apiVersion?.startsWith("cilium.io/") && /polic|polcy/i.test(object.kind ?? "");
    const error = `${where(fromRoot("kind"))} kind: found "${object.kind}", allowed are ${POLICY_KINDS.join(", ")}`;
    return ours ? [{ object: title, errors: [error], warnings: [] }] : [];
  }
  if (object.apiVersion?.startsWith("cilium.io/") && object.apiVersion !== "cilium.io/v2") {
    const error = `${where(fromRoot("apiVersion"))} apiVersion: found "${object.apiVersion}", cilium.io/v2 is needed`;
    return [{ object: title, errors: [error], warnings: [] }];
  }
  const { issues, warnings } = parsePolicy(object);
  const format = ({ path, message }: Issue) => `${where(fromRoot(path))} ${path ? `${path}: ` : ""}${message}`;
  return [{ object: title, errors: issues.map(format), warnings: warnings.map(format) }];
}

type Position = { readonly line: number; readonly col: number };

function placeIn(document: Document, path: string, lines: LineCounter): Position | undefined {
  const found = locate(document, path, lines);
  return found && { line: found.line, col: found.column };
}

function place(position: Position | undefined): string {
  return position ? `${position.line}:${position.col}:` : "";
}
