import { type Place, readDocuments, type TextProblem } from "#yaml/documents.ts";
import type { SourcedObject } from "./objects.ts";

/** A text that is no YAML; the message names source and place. */
export class DocumentError extends Error {
  readonly place: Place;
  constructor(file: string, { message, place }: TextProblem) {
    super(`${file}:${place.line}:${place.column}: ${message}`);
    this.place = place;
  }
}

/** The objects in a text of YAML documents (JSON is YAML). `file` is what the source is called. Throws `DocumentError` for text that is none. */
export function objectsIn(file: string, text: string): SourcedObject[] {
  return readDocuments(text).map(({ value, problems: [problem], locate }) => {
    if (problem !== undefined) throw new DocumentError(file, problem);
    return { object: value, source: { name: file, locate } };
  });
}
