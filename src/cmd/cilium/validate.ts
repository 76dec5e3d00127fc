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

/** Checks every policy of a file of YAML documents (JSON is YAML); objects of other kinds are passed over. */
export function validateDocuments(file: string, text: string): DocumentResult[] {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines });
  const documents: Document[] = Array.isArray(parsed) ? parsed : [];
  return documents.flatMap((document): DocumentResult[] => {
    const syntax = document.errors.map((error) => `${file}:${place(error.linePos?.[0])} ${error.message.split("\n")[0]}`);
    if (syntax.length > 0) return [{ object: file, errors: syntax, warnings: [] }];
    const object = document.toJS() as { kind?: string; metadata?: { name?: string; namespace?: string } } | null;
    if (object === null) return [];
    if (!isMap(document.contents)) return [{ object: file, errors: [`${file}: a Kubernetes object is needed`], warnings: [] }];
    if (!POLICY_KINDS.includes(object.kind ?? "")) return [];
    const { issues, warnings } = parsePolicy(object);
    const format = ({ path, message }: Issue) => `${file}:${place(place2(document, path, lines))} ${path ? `${path}: ` : ""}${message}`;
    const name = [object.metadata?.namespace, object.metadata?.name ?? "(no name)"].filter(Boolean).join("/");
    return [{ object: `${file}: ${object.kind} ${name}`, errors: issues.map(format), warnings: warnings.map(format) }];
  });
}

type Position = { readonly line: number; readonly col: number };

function place2(document: Document, path: string, lines: LineCounter): Position | undefined {
  const found = locate(document, path, lines);
  return found && { line: found.line, col: found.column };
}

function place(position: Position | undefined): string {
  return position ? `${position.line}:${position.col}:` : "";
}
