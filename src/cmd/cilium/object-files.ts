import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Document, LineCounter, parseAllDocuments } from "yaml";
import { locate } from "#policy/locate.ts";
import type { Place, SourcedObject } from "#policy/world/objects.ts";
import { CodedError } from "#runtime/errors.ts";

/** A file that cannot be read, or is no YAML; the message names file and place. */
export class ObjectFileError extends CodedError {}

/** The text of a file; `-` is standard input. Throws `ObjectFileError` saying which file and why. */
export function readText(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (thrown) {
    throw unreadable(file, thrown);
  }
}

function unreadable(file: string, thrown: unknown): ObjectFileError {
  return new ObjectFileError("unreadable", `cannot read ${file}: ${(thrown as NodeJS.ErrnoException).code ?? String(thrown)}`);
}

/** The files that a path stands for: itself, or the YAML and JSON files below it in order of their names. Throws `ObjectFileError`. */
export function filesUnder(path: string): string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && /\.(ya?ml|json)$/.test(entry.name));
    return files.map((entry) => join(entry.parentPath, entry.name)).sort();
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}

/** The objects in YAML or JSON files and in directories of them, in order. Throws `ObjectFileError`: a file that is half read would mislead. */
export function readObjects(paths: readonly string[]): SourcedObject[] {
  return paths.flatMap(filesUnder).flatMap((file) => objectsIn(file, readText(file)));
}

/** The objects in a text of YAML documents (JSON is YAML). Throws `ObjectFileError` for text that is none. */
export function objectsIn(file: string, text: string): SourcedObject[] {
  const json = /^\s*[{[]/.test(text) ? parseJson(text) : undefined;
  if (json !== undefined) return [{ object: json, source: { name: file, locate: lazily(text) } }];
  const lines = new LineCounter();
  return documentsIn(text, lines).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line = 1, col = 1 } = error.linePos?.[0] ?? {};
      throw new ObjectFileError("bad-yaml", `${file}:${line}:${col}: ${error.message.split("\n")[0]}`);
    }
    const object = toValue(file, document);
    return object === null ? [] : [{ object, source: { name: file, locate: (path) => locate(document, path, lines) } }];
  });
}

function documentsIn(text: string, lineCounter: LineCounter): Document[] {
  const parsed = parseAllDocuments(text, { lineCounter });
  return Array.isArray(parsed) ? parsed : [];
}

/** The document's value; a bomb of aliases is an error like any other. */
function toValue(file: string, document: Document): unknown {
  try {
    return document.toJS();
  } catch (thrown) {
    throw new ObjectFileError("bad-yaml", `${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  }
}

/** JSON is read by a parser that is many times faster; what it refuses may still be YAML. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Places in a JSON text, which is read again for them only when one is asked for. */
function lazily(text: string): (path: string) => Place | undefined {
  let parsed: { readonly document: Document | undefined; readonly lines: LineCounter } | undefined;
  return (path) => {
    if (parsed === undefined) {
      const lines = new LineCounter();
      parsed = { document: documentsIn(text, lines)[0], lines };
    }
    return parsed.document && locate(parsed.document, path, parsed.lines);
  };
}
