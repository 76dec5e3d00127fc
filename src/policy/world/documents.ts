import { type Document, LineCounter, parseAllDocuments } from "yaml";
import { locate } from "../locate.ts";
import type { Place, SourcedObject } from "./objects.ts";

/** A text that is no YAML; the message names source and place. */
export class DocumentError extends Error {
  /** Where, when the parser knows. */
  readonly place: Place | undefined;
  constructor(message: string, place?: Place) {
    super(message);
    this.place = place;
  }
}

/** The objects in a text of YAML documents (JSON is YAML). `file` is what the source is called. Throws `DocumentError` for text that is none. */
export function objectsIn(file: string, text: string): SourcedObject[] {
  const json = /^\s*[{[]/.test(text) ? parseJson(text) : undefined;
  if (json !== undefined) return [{ object: json, source: { name: file, locate: lazily(text) } }];
  const lines = new LineCounter();
  return documentsIn(text, lines).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line = 1, col = 1 } = error.linePos?.[0] ?? {};
      throw new DocumentError(`${file}:${line}:${col}: ${error.message.split("\n")[0]}`, { line, column: col });
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
    throw new DocumentError(`${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
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
