import { once } from "node:events";
import { type ApiError, gone } from "../errors.ts";
import { asObject, type KubeObject } from "../object.ts";
import { parseRevision } from "../operations/list.ts";
import { toTable } from "../printer/table.ts";
import { fromStorage, hasField, type Resource } from "../resources/resource.ts";
import { type ObjectMatcher, parseSelectors } from "../selectors.ts";
import type { Change } from "../store/history.ts";
import { type Exchange, isTrue, numberFrom } from "./exchange.ts";
import { jsonOf, partial } from "./respond.ts";
import type { Route } from "./route.ts";

const BOOKMARK_EVERY = 60_000;
const END_OF_INITIAL = { "k8s.io/initial-events-end": "true" };

type WatchType = "ADDED" | "MODIFIED" | "DELETED";

/** Where a watch stands and how long it lasts. */
interface Watch {
  readonly exchange: Exchange;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly matches: ObjectMatcher;
  readonly writer: Writer;
  /** Everything up to here has been sent. */
  revision: number;
  readonly bookmarks: boolean;
  readonly deadline: number;
}

/**
 * Streams changes for as long as the client stays. The stream reads from the store's bounded history at the pace of the
 * client, so a slow client costs nothing; one that falls behind the history gets 410 and must list again.
 */
export async function serveWatch(exchange: Exchange, resource: Resource, route: Route): Promise<void> {
  const { core, query, response } = exchange;
  const wanted = query.get("resourceVersion") ?? "";
  const fromNow = isTrue(query.get("sendInitialEvents")) || wanted === "" || wanted === "0";
  const watch: Watch = {
    exchange,
    resource,
    namespace: route.namespace,
    matches: watchMatcher(exchange, resource, route),
    writer: createWriter(exchange, resource),
    revision: fromNow ? core.store.revision : parseRevision(wanted),
    bookmarks: isTrue(query.get("allowWatchBookmarks")),
    deadline: Date.now() + (numberFrom(query, "timeoutSeconds") ?? 3600) * 1000,
  };
  // A version that was never given out is one of another life of the store.
  const known = watch.revision <= core.store.revision && core.store.since(resource.storage, watch.revision) !== undefined;
  if (!fromNow && !known) throw expiredAt(watch.revision);
  response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
  response.flushHeaders();
  if (fromNow) await sendInitial(watch);
  using pulse = createPulse(exchange, resource);
  await follow(watch, pulse);
  response.end();
}

async function sendInitial({ exchange, resource, namespace, matches, writer, revision, bookmarks }: Watch): Promise<void> {
  for (const object of exchange.core.store.list(resource.storage, namespace)) if (matches(object)) await writer.event("ADDED", object);
  if (bookmarks && isTrue(exchange.query.get("sendInitialEvents"))) await writer.bookmark(revision, END_OF_INITIAL);
}

async function follow(watch: Watch, pulse: Pulse): Promise<void> {
  const { exchange, resource, writer, bookmarks, deadline } = watch;
  const { core, signal } = exchange;
  let nextBookmark = Date.now() + BOOKMARK_EVERY;
  while (!signal.aborted && Date.now() < deadline) {
    const changes = core.store.since(resource.storage, watch.revision);
    if (!changes) return writer.error(expiredAt(watch.revision));
    if (changes.length > 0) {
      await sendChanges(watch, changes);
      continue;
    }
    if (Date.now() >= nextBookmark) {
      nextBookmark = Date.now() + BOOKMARK_EVERY;
      watch.revision = core.store.revision;
      if (bookmarks) await writer.bookmark(watch.revision);
    }
    await pulse.wait(Math.max(0, Math.min(deadline, nextBookmark) - Date.now()));
  }
}

async function sendChanges(watch: Watch, changes: readonly Change[]): Promise<void> {
  for (const change of changes) {
    await writeChange(watch.writer, change, watch.matches, watch.namespace);
    watch.revision = change.revision;
    if (watch.exchange.signal.aborted) return;
  }
}

const expiredAt = (revision: number) => gone(`too old resource version: ${revision}; list again`);

function watchMatcher(exchange: Exchange, resource: Resource, route: Route): ObjectMatcher {
  const { query } = exchange;
  const selected = parseSelectors(query.get("labelSelector"), query.get("fieldSelector"), (path) => hasField(resource, path));
  const { name } = route;
  return (object) => (name === undefined || object.metadata.name === name) && (selected?.(fromStorage(resource, object)) ?? true);
}

/** A change is an addition or a deletion for those whose selector it moves an object into or out of. */
async function writeChange(writer: Writer, change: Change, matches: ObjectMatcher, namespace: string | undefined): Promise<void> {
  if (namespace && change.object.metadata.namespace !== namespace) return;
  const before = change.previous !== undefined && matches(change.previous);
  if (change.type === "DELETED") return before ? writer.event("DELETED", change.object) : undefined;
  const after = matches(change.object);
  if (after) return writer.event(before ? "MODIFIED" : "ADDED", change.object);
  if (before) return writer.event("DELETED", change.object);
}

interface Writer {
  event(type: WatchType, object: KubeObject): Promise<void>;
  bookmark(revision: number, annotations?: Record<string, string>): Promise<void>;
  error(error: ApiError): Promise<void>;
}

function createWriter(exchange: Exchange, resource: Resource): Writer {
  const { response, accept, query, core, signal } = exchange;
  let first = true;
  const line = async (type: string, json: string) => {
    if (signal.aborted || response.destroyed) return;
    if (!response.write(`{"type":"${type}","object":${json}}\n`)) await once(response, "drain", { signal }).catch(() => undefined);
  };
  const shown = (object: KubeObject): string => {
    if (accept.as === "Table") {
      const include = query.get("includeObject") ?? "Metadata";
      const metadata = { resourceVersion: object.metadata.resourceVersion };
      const table = toTable(resource.columns, [object], { include, now: core.now(), metadata, rowsOnly: !first });
      first = false;
      return JSON.stringify(table);
    }
    return accept.as?.startsWith("Partial") ? JSON.stringify(partial(object)) : jsonOf(object);
  };
  return {
    event: (type, object) => line(type, shown(fromStorage(resource, object))),
    bookmark(revision, annotations) {
      const metadata = { resourceVersion: String(revision), ...(annotations ? { annotations } : {}) };
      const { version, group, kind } = resource;
      const mark = { kind, apiVersion: group ? `${group}/${version}` : version, metadata: { ...metadata, creationTimestamp: null } };
      return line("BOOKMARK", JSON.stringify(accept.as === "Table" ? bookmarkTable(metadata, mark) : mark));
    },
    error: (error) => line("ERROR", JSON.stringify(error.status)),
  };
}

const bookmarkTable = (metadata: object, object: object) => ({
  kind: "Table",
  apiVersion: "meta.k8s.io/v1",
  metadata,
  columnDefinitions: null,
  rows: [{ cells: [], object: { ...asObject(object), kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1" } }],
});

interface Pulse extends Disposable {
  /** Resolves at the next change of the resource, after the time, or when the client goes. */
  wait(milliseconds: number): Promise<void>;
}

function createPulse(exchange: Exchange, resource: Resource): Pulse {
  let beaten = false;
  let resume = () => {};
  const beat = () => {
    beaten = true;
    resume();
  };
  const subscription = exchange.core.store.subscribe(resource.storage, beat);
  exchange.signal.addEventListener("abort", beat);
  return {
    async wait(milliseconds) {
      if (!beaten) {
        const { promise, resolve } = Promise.withResolvers<void>();
        resume = resolve;
        const timer = setTimeout(resolve, milliseconds);
        await promise;
        clearTimeout(timer);
      }
      beaten = false;
    },
    [Symbol.dispose]() {
      subscription[Symbol.dispose]();
      exchange.signal.removeEventListener("abort", beat);
    },
  };
}
