import { ApiError, badRequest, gone } from "../errors.ts";
import type { KubeObject } from "../object.ts";
import { fromStorage, hasField, type Resource } from "../resources/resource.ts";
import { parseSelectors } from "../selectors.ts";
import type { Core } from "./core.ts";

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: string | undefined;
}

export interface Listed {
  readonly items: readonly KubeObject[];
  /** Of the whole list, also when it is read in pages. */
  readonly resourceVersion: string;
  /** Where the next page starts; absent on the last. */
  readonly continue?: string;
  readonly remaining?: number;
}

/** Lists objects; pages after the first show the state of the first, or fail with 410 when that is forgotten. */
export function listObjects(core: Core, resource: Resource, options: ListOptions): Listed {
  const matches = parseSelectors(options.labelSelector, options.fieldSelector, (path) => hasField(resource, path));
  const page = options.continue ? readToken(options.continue) : undefined;
  const revision = page?.revision ?? exactRevision(core, options) ?? core.store.revision;
  const all = core.store.listAt(resource.storage, revision, options.namespace);
  if (!all) throw expired(page !== undefined, revision);
  const rest = page ? all.filter((object) => isAfter(object, page)) : all;
  const found = matches ? rest.filter((object) => matches(fromStorage(resource, object))) : rest;
  const items = options.limit ? found.slice(0, options.limit) : found;
  const last = items.at(-1);
  const converted = resource.storageApiVersion === versionOf(resource) ? items : items.map((object) => fromStorage(resource, object));
  const resourceVersion = String(revision);
  if (items.length === found.length || !last) return { items: converted, resourceVersion };
  return { items: converted, resourceVersion, continue: writeToken(revision, last), remaining: found.length - items.length };
}

const versionOf = (resource: Resource): string => (resource.group ? `${resource.group}/${resource.version}` : resource.version);

function exactRevision(core: Core, options: ListOptions): number | undefined {
  const { resourceVersion, resourceVersionMatch } = options;
  if (!resourceVersion || resourceVersion === "0") return undefined;
  const revision = parseRevision(resourceVersion);
  if (resourceVersionMatch === "Exact") return revision;
  if (revision > core.store.revision) throw tooLarge(revision, core.store.revision);
  return undefined;
}

/** Clients know this answer: they list again without a version. */
const tooLarge = (wanted: number, newest: number) =>
  new ApiError(504, "Timeout", `Timeout: Too large resource version: ${wanted}, current: ${newest}`, {
    causes: [{ reason: "ResourceVersionTooLarge", field: "", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });

/** A resourceVersion that a client sent, as a number. */
export function parseRevision(text: string): number {
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`invalid resource version ${JSON.stringify(text)}: must be a number that this server gave out`);
  return Number(text);
}

const expired = (paged: boolean, revision: number) =>
  gone(
    paged
      ? "The provided continue parameter is too old to display a consistent list result. Start a new list without the continue parameter."
      : `The resourceVersion for the provided list is too old: ${revision}`,
  );

interface Position {
  readonly revision: number;
  readonly namespace: string;
  readonly name: string;
}

const isAfter = ({ metadata }: KubeObject, { namespace, name }: Position): boolean =>
  (metadata.namespace ?? "") === namespace ? metadata.name > name : (metadata.namespace ?? "") > namespace;

function writeToken(revision: number, { metadata }: KubeObject): string {
  return Buffer.from(JSON.stringify({ revision, namespace: metadata.namespace ?? "", name: metadata.name })).toString("base64url");
}

function readToken(token: string): Position {
  try {
    const { revision, namespace, name } = JSON.parse(Buffer.from(token, "base64url").toString()) as Position;
    if (Number.isSafeInteger(revision) && typeof namespace === "string" && typeof name === "string") return { revision, namespace, name };
  } catch {
    // Falls through to the same answer as a token of the wrong shape.
  }
  throw badRequest("continue key is not valid: it must be one that a list answer of this server gave");
}
