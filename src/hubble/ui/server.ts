import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as openRequest, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Snapshot } from "./cluster-view.ts";
import { pageRequests, streamFlows } from "./flows.ts";
import { answerPolicies } from "./policies.ts";

export interface UiDeps {
  readonly log: Logger;
  /** The cluster's policies and who they are about; undefined where there is no cluster to ask. */
  readonly snapshot?: (() => Promise<Snapshot>) | undefined;
}

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

/** Serves the page, the relay's flows as server-sent events at `/api/flows`, and what there is to say about policies. It can only read. */
export async function startUi(deps: UiDeps, config: UiConfig): Promise<AsyncDisposable & { readonly port: number }> {
  const files = new Map(FILES.map((name) => [`/${name}`, readFileSync(new URL(name, config.directory))]));
  const server = createServer((request, response) => {
    answer(files, config, deps, request, response).catch((thrown: unknown) => {
      deps.log.warn("a request failed", { error: errorMessage(thrown) });
      response.destroy();
    });
  });
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

async function answer(
  files: ReadonlyMap<string, Buffer>,
  config: UiConfig,
  deps: UiDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://ui");
  if (url.pathname.startsWith("/api/") && config.backend) return passOn(config.backend, request, response, deps.log);
  const found = await answerPolicies({ snapshot: deps.snapshot, relay: config.relay }, request, url);
  if (found !== undefined) {
    const type = found.status === 200 ? "application/json" : "text/plain";
    const close = request.complete ? {} : { connection: "close" };
    response.writeHead(found.status, { ...SECURITY_HEADERS, ...close, "content-type": type, "cache-control": "no-store" });
    response.end(found.status === 200 ? JSON.stringify(found.body) : `${found.body}\n`);
  } else if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405, SECURITY_HEADERS).end();
  else if (url.pathname === "/healthz") response.writeHead(200, SECURITY_HEADERS).end("ok");
  else if (url.pathname === "/api/flows") answerFlows(config.relay, url.searchParams, request, response, deps.log);
  else answerFile(files, url.pathname, response);
}

function answerFlows(relay: string, query: URLSearchParams, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const wanted = pageRequests(query);
  if (wanted === undefined) {
    response.writeHead(400, SECURITY_HEADERS).end("since and until are milliseconds since 1970\n");
    return;
  }
  response.writeHead(200, { ...SECURITY_HEADERS, "content-type": "text/event-stream", "cache-control": "no-store" });
  streamFlows(relay, wanted, request, response, log);
}

function answerFile(files: ReadonlyMap<string, Buffer>, pathname: string, response: ServerResponse): void {
  const file = files.get(pathname === "/" ? "/index.html" : pathname);
  if (!file) {
    response.writeHead(404, SECURITY_HEADERS).end("not found\n");
    return;
  }
  const type = TYPES[pathname.split(".").at(-1) ?? ""] ?? TYPES.html;
  response.writeHead(200, { ...SECURITY_HEADERS, "content-type": `${type}; charset=utf-8` }).end(file);
}

/** Hands a request to the backend; the stream ends when either side goes. */
function passOn(backend: string, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const { method = "GET" } = request;
  const type = request.headers["content-type"];
  const options = { method, headers: type === undefined ? {} : { "content-type": type } };
  const outgoing = openRequest(`http://${backend}${request.url}`, options, (answer) => {
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
  pipeline(request, outgoing).catch(() => outgoing.destroy()); // the page has gone
}
