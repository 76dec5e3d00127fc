import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as openRequest, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { pageRequests, streamFlows } from "./flows.ts";

export interface UiConfig {
  readonly host: string;
  readonly port: number;
  /** Hubble Relay: `host:port` or `unix:///path`. */
  readonly relay: string;
  /** `host:port` of a server like this one that is asked for flows instead of the relay. */
  readonly backend?: string;
  /** The bundled page: index.html, main.js, style.css, icon.svg. */
  readonly directory: URL;
}

const FILES = ["index.html", "main.js", "style.css", "icon.svg"];
const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
/** Nothing from elsewhere, no framing, no guessing of types. */
const SECURITY_HEADERS = {
  "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

/** Serves the page, and the relay's flows as server-sent events at `/api/flows`. It can only read. */
export async function startUi({ log }: { readonly log: Logger }, config: UiConfig): Promise<AsyncDisposable & { readonly port: number }> {
  const files = new Map(FILES.map((name) => [`/${name}`, readFileSync(new URL(name, config.directory))]));
  const server = createServer((request, response) => answer(files, config, log, request, response));
  server.listen(config.port, config.host);
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : config.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function answer(
  files: ReadonlyMap<string, Buffer>,
  config: UiConfig,
  log: Logger,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://ui");
  const file = files.get(pathname === "/" ? "/index.html" : pathname);
  if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405, SECURITY_HEADERS).end();
  else if (pathname === "/healthz") response.writeHead(200, SECURITY_HEADERS).end("ok");
  else if (pathname === "/api/flows" && config.backend) passOn(config.backend, request, response, log);
  else if (pathname === "/api/flows") {
    const wanted = pageRequests(searchParams);
    if (wanted === undefined) response.writeHead(400, SECURITY_HEADERS).end("since and until are milliseconds since 1970\n");
    else {
      response.writeHead(200, { ...SECURITY_HEADERS, "content-type": "text/event-stream", "cache-control": "no-store" });
      streamFlows(config.relay, wanted, request, response, log);
    }
  } else if (!file) response.writeHead(404, SECURITY_HEADERS).end("not found\n");
  else {
    const type = TYPES[pathname.split(".").at(-1) ?? ""] ?? TYPES.html;
    response.writeHead(200, { ...SECURITY_HEADERS, "content-type": `${type}; charset=utf-8` }).end(file);
  }
}

/** Hands a request to the backend; the stream ends when either side goes. */
function passOn(backend: string, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const outgoing = openRequest(`http://${backend}${request.url}`, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, response).catch(() => outgoing.destroy()); // one of them has gone
  });
  outgoing.on("error", (thrown) => {
    if (response.destroyed) return;
    log.warn("cannot reach the backend", { backend, error: errorMessage(thrown) });
    if (response.headersSent) response.destroy();
    else response.writeHead(502, SECURITY_HEADERS).end("the backend does not answer\n");
  });
  response.on("close", () => outgoing.destroy());
  outgoing.end();
}
