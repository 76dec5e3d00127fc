import { ApiError } from "../errors.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Page } from "../http/handler.ts";
import { sendJson, sendText } from "../http/respond.ts";
import type { Registry } from "../resources/registry.ts";
import { createDocuments } from "./documents.ts";

const YEAR_MS = 365 * 86_400_000;

/** Serves `/openapi/v2` and `/openapi/v3`. */
export function openApiPage(registry: Registry): Page {
  const documents = createDocuments(registry);
  return async (exchange) => {
    const { path } = exchange;
    if (!path.startsWith("/openapi/")) return false;
    if (path === "/openapi/v2") await serveV2(exchange, documents.v2());
    else if (path === "/openapi/v3" || path === "/openapi/v3/") sendJson(exchange, 200, documents.index());
    else serveGroupVersion(exchange, documents.groupVersion(path.slice("/openapi/v3/".length)));
    return true;
  };
}

const encoded = new WeakMap<object, Buffer>();

/**
 * client-go asks for this document in protobuf only, as `…v2@v1.0+protobuf`; everybody else gets JSON. The answer has a dot, as upstream's:
 * with an @ it is no media type to Go.
 */
async function serveV2(exchange: Exchange, document: object): Promise<void> {
  if (!exchange.accept.protobuf) return sendJson(exchange, 200, document);
  const { encodeOpenApiV2 } = await import("./v2-protobuf.ts");
  const bytes = encoded.get(document) ?? encodeOpenApiV2(document as Parameters<typeof encodeOpenApiV2>[0]);
  encoded.set(document, bytes);
  exchange.response.writeHead(200, {
    "content-type": "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "content-length": bytes.length,
  });
  exchange.response.end(bytes);
}

/** The address carries the hash of the content, so it may be kept for ever. */
function serveGroupVersion(exchange: Exchange, text: string | undefined): void {
  if (text === undefined) throw new ApiError(404, "NotFound", "the server could not find the requested resource");
  if (exchange.query.has("hash")) {
    exchange.response.setHeader("cache-control", "public, immutable");
    exchange.response.setHeader("expires", new Date(exchange.core.now().getTime() + YEAR_MS).toUTCString());
  }
  sendText(exchange, 200, text);
}
