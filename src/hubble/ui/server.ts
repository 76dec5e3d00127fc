import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { create, createRegistry, toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { ExplanationSchema } from "#api/gen/cilia/explanation_pb.ts";
import { GetFlowsRequestSchema, GetFlowsResponseSchema, Observer } from "#api/gen/observer/observer_pb.ts";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { openConnection } from "../client/transport.ts";

export interface UiConfig {
  readonly host: string;
  readonly port: number;
  /** Hubble Relay: `host:port` or `unix:///path`. */
  readonly relay: string;
  /** The bundled page: index.html, main.js, style.css. */
  readonly directory: URL;
}

const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript", css: "text/css" };
/** Nothing from elsewhere, no framing, no guessing of types. */
const SECURITY_HEADERS = {
  "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};
/** Flows that a page gets at first. */
const HISTORY = 200n;

/** Serves the page, and the relay's flows as server-sent events at `/api/flows`. It can only read. */
export async function startUi({ log }: { readonly log: Logger }, config: UiConfig): Promise<AsyncDisposable & { readonly port: number }> {
  const files = new Map(["index.html", "main.js", "style.css"].map((name) => [`/${name}`, readFileSync(new URL(name, config.directory))]));
  const index = files.get("/index.html");
  if (index) files.set("/", index);
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://ui");
    const file = files.get(pathname);
    if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405, SECURITY_HEADERS).end();
    else if (pathname === "/healthz") response.writeHead(200, SECURITY_HEADERS).end("ok");
    else if (pathname === "/api/flows") streamFlows(config.relay, request, response, log);
    else if (!file) response.writeHead(404, SECURITY_HEADERS).end("not found\n");
    else {
      const extension = pathname.split(".").at(-1) ?? "";
      response.writeHead(200, { ...SECURITY_HEADERS, "content-type": `${TYPES[extension] ?? TYPES.html}; charset=utf-8` }).end(file);
    }
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

/** One relay stream a page; it ends with the page. A slow page slows its own stream only. */
function streamFlows(relay: string, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const gone = new AbortController();
  request.on("close", () => gone.abort());
  response.writeHead(200, { ...SECURITY_HEADERS, "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(": flows\n\n");
  follow(relay, response, gone.signal).catch((thrown: unknown) => {
    if (gone.signal.aborted) return;
    log.warn("lost the relay", { relay, error: errorMessage(thrown) });
    response.end();
  });
}

async function follow(relay: string, response: ServerResponse, signal: AbortSignal): Promise<void> {
  using connection = openConnection({ server: relay, dialTimeoutMs: 5000 });
  const client = createClient(Observer, connection.transport);
  const registry = createRegistry(ExplanationSchema);
  const wanted = create(GetFlowsRequestSchema, { number: HISTORY, follow: true });
  for await (const flow of client.getFlows(wanted, { signal })) {
    const text = toJsonString(GetFlowsResponseSchema, flow, { useProtoFieldName: true, registry });
    if (!response.write(`data: ${text}\n\n`)) await once(response, "drain", { signal });
  }
  response.end();
}
