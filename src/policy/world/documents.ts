import { type Alias, type Document, isNode, LineCounter, parseAllDocuments, visit } from "yaml";
import { locate } from "../parse/locate.ts";
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
    const read = readDocument(document, lines);
    if ("problem" in read) {
      const at = read.place === undefined ? file : `${file}:${read.place.line}:${read.place.column}`;
      throw new DocumentError(`${at}: ${read.problem}`, read.place);
    }
    return read.value === null ? [] : [{ object: read.value, source: { name: file, locate: (path) => locate(document, path, lines) } }];
  });
}

function documentsIn(text: string, lineCounter: LineCounter): Document[] {
  const parsed = parseAllDocuments(text, { lineCounter });
  return Array.isArray(parsed) ? parsed : [];
}

/** The document's value. A bomb of aliases, an alias of nothing or one of what it stands in is a problem like any other. */
export function readDocument(
  document: Document,
  lines: LineCounter,
): { readonly value: unknown } | { readonly problem: string; readonly place?: Place } {
  const circle = circularAlias(document);
  if (circle !== undefined) {
    const { line, col } = lines.linePos(circle.range?.[0] ?? 0);
    return { problem: `the alias *${circle.source} stands inside of what it stands for, without end`, place: { line, column: col } };
  }
  try {
    return { value: document.toJS() };
  } catch (thrown) {
    return { problem: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/** An alias points backwards only, so a circle of any number of them has one that points to something around it. */
function circularAlias(document: Document): Alias | undefined {
  let found: Alias | undefined;
  visit(document, {
    Alias(_key, alias, path) {
      // The nearest anchor of that name before the alias is the one that is meant.
      const around = path.filter((node) => isNode(node) && "anchor" in node && node.anchor === alias.source);
      if (around.length === 0 || !around.includes(alias.resolve(document) ?? alias)) return undefined;
      found = alias;
      return visit.BREAK;
    },
  });
  return found;
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
