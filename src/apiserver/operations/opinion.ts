import { ApiError, type Cause, invalid } from "../errors.ts";
import { asObject, type KubeObject } from "../object.ts";
import type { Resource } from "../resources/resource.ts";
import type { Core, WriteOptions } from "./core.ts";

/** What somebody who knows more of an object than its schema says thinks of it. */
export interface Opinion {
  /** What to call the object. */
  readonly noun: string;
  /** Why the object, once stored, has no effect. */
  readonly problems: readonly { readonly field: string; readonly message: string }[];
  /** What its author should be told besides. */
  readonly warnings: readonly string[];
}

/** The stored objects of a resource (`plural[.group]`), of one namespace when given. They are frozen, and the same for as long as they do not change. */
export type Stored = (resource: string, namespace?: string) => readonly object[];

/** Looks at an object that is about to be stored, or refused; it need not fit its schema. Must not throw. */
export type Review = (object: unknown, stored: Stored) => Opinion;

/** Kubernetes' own limit for the warnings of one answer is 4 KiB; a reader's is lower. */
const WARNINGS_MAX = 10;

function warnOf(texts: readonly string[], warn: (message: string) => void): void {
  for (const text of texts.slice(0, WARNINGS_MAX)) warn(text);
  if (texts.length > WARNINGS_MAX) warn(`… and ${texts.length - WARNINGS_MAX} more`);
}

/** Has a complete object looked at, and its author warned. */
export function reviewFor(core: Core, resource: Resource, object: KubeObject, { warn, subresource }: WriteOptions): void {
  if (warn === undefined || subresource !== undefined || core.review === undefined) return;
  const { noun, problems, warnings } = core.review(
    { ...object, apiVersion: resource.storageApiVersion, kind: resource.kind },
    core.store.list,
  );
  const useless = problems.map(({ field, message }) => `this ${noun} has no effect: ${[field, message].filter(Boolean).join(": ")}`);
  warnOf([...useless, ...warnings], warn);
}

/**
 * Runs a write of a body. When the server refuses it for what is in it, the refusal says what the reviewer has against it too, so that its author
 * hears of every error at once and not of the next one when the first is mended.
 */
export function withOpinion<T>(core: Core, resource: Resource, body: unknown, options: WriteOptions, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const said = error instanceof ApiError ? error.details?.causes : undefined;
    if (said === undefined || core.review === undefined || options.subresource !== undefined) throw error;
    const { problems, warnings } = core.review({ ...asObject(body), kind: resource.kind }, core.store.list);
    const { told, rest } = byField(said, warnings);
    if (options.warn !== undefined) warnOf(rest, options.warn);
    // Of what both have against a field the reviewer's words are the better ones where they tell what is right.
    for (const { field, message } of problems) if (message.includes("did you mean")) told.set(field, message);
    const more = problems.filter(({ field }) => !said.some((one) => one.field === field));
    if (more.length + told.size === 0) throw error;
    const causes = said.map((one) => ({ ...one, message: told.get(one.field) ?? one.message }));
    const name = String(asObject(asObject(body).metadata).name ?? "");
    throw invalid(resource, name, [...causes, ...more.map((one) => ({ reason: "FieldValueInvalid", ...one }))]);
  }
}

/** Warnings about what is refused anyway, by the field, and those about other things. */
function byField(said: readonly Cause[], warnings: readonly string[]) {
  const told = new Map<string, string>();
  const rest = warnings.filter((text) => {
    const cause = said.find(({ field }) => text.startsWith(`${field}: `));
    if (cause !== undefined) told.set(cause.field, better(cause, text.slice(cause.field.length + 2)));
    return cause === undefined;
  });
  return { told, rest };
}

/** A refused field is not ignored, as a warning about it says it would be: only the warning's advice is of use then. */
function better({ message }: Cause, warning: string): string {
  const advice = warning.indexOf(";");
  return message.startsWith("unknown field") ? message + (advice < 0 ? "" : warning.slice(advice)) : warning;
}
