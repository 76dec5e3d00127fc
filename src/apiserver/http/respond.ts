import { errorMessage } from "#runtime/errors.ts";
import { ApiError } from "../errors.ts";
import type { JsonObject, KubeObject } from "../object.ts";
import { toTable } from "../printer/table.ts";
import { apiVersionOf, type Resource } from "../resources/resource.ts";
import type { Exchange } from "./exchange.ts";

const texts = new WeakMap<object, string>();

/** The JSON of a stored object, kept with it: one serialization serves every reader and watcher. */
export function jsonOf(object: object): string {
  if (!Object.isFrozen(object)) return JSON.stringify(object);
  let text = texts.get(object);
  if (text === undefined) {
    text = JSON.stringify(object);
    texts.set(object, text);
  }
  return text;
}

/** Sends a JSON text with the warnings that have come together. */
export function sendText(exchange: Exchange, status: number, text: string, type = "application/json"): void {
  const { response, warnings } = exchange;
  if (response.headersSent || response.destroyed) return;
  const headers: Record<string, string | string[] | number> = { "content-type": type, "content-length": Buffer.byteLength(text) };
  if (warnings.length > 0)
    headers.warning = [...new Set(warnings)].map((warning) => `299 - ${JSON.stringify(warning.replace(/[^\x20-\x7e]/g, " "))}`);
  response.writeHead(status, headers);
  response.end(text);
}

export function sendJson(exchange: Exchange, status: number, value: object): void {
  sendText(exchange, status, jsonOf(value));
}

/** Sends an object in the form that was asked for: itself, a table, its metadata. */
export function sendObject(exchange: Exchange, status: number, resource: Resource, object: KubeObject): void {
  const { as } = exchange.accept;
  if (as === "Table") sendTable(exchange, resource, [object], { resourceVersion: object.metadata.resourceVersion });
  else sendJson(exchange, status, as === "PartialObjectMetadata" ? partial(object) : object);
}

export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

export function sendList(exchange: Exchange, resource: Resource, items: readonly KubeObject[], metadata: ListMeta): void {
  const { as } = exchange.accept;
  if (as === "Table") sendTable(exchange, resource, items, metadata);
  else if (as === "PartialObjectMetadataList") {
    sendJson(exchange, 200, { kind: "PartialObjectMetadataList", apiVersion: "meta.k8s.io/v1", metadata, items: items.map(partial) });
  } else {
    const head = JSON.stringify({ kind: resource.listKind, apiVersion: apiVersionOf(resource), metadata });
    sendText(exchange, 200, `${head.slice(0, -1)},"items":[${items.map(jsonOf).join(",")}]}`);
  }
}

function sendTable(exchange: Exchange, resource: Resource, items: readonly KubeObject[], metadata: ListMeta): void {
  const include = exchange.query.get("includeObject") ?? "Metadata";
  sendJson(exchange, 200, toTable(resource.columns, items, { include, now: exchange.core.now(), metadata }));
}

export function partial(object: KubeObject): JsonObject {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata };
}

/** Answers with the Status of what was thrown; anything but an `ApiError` is a fault of ours and is logged. */
export function sendError(exchange: Exchange, thrown: unknown): void {
  const error = toApiError(exchange, thrown);
  if (error.httpStatus === 429) exchange.response.setHeader("retry-after", String(error.details?.retryAfterSeconds ?? 1));
  sendText(exchange, error.httpStatus, JSON.stringify(error.status));
}

export function toApiError(exchange: Exchange, thrown: unknown): ApiError {
  if (thrown instanceof ApiError) {
    if (thrown.httpStatus >= 500) exchange.core.log.error("request failed", { path: exchange.path, error: errorMessage(thrown) });
    return thrown;
  }
  const message = errorMessage(thrown);
  if (!exchange.signal.aborted) {
    exchange.core.log.error("request failed by a fault of the server", {
      path: exchange.path,
      error: message,
      stack: thrown instanceof Error ? thrown.stack : undefined,
    });
  }
  return new ApiError(500, "InternalError", `Internal error occurred: ${message}`);
}
