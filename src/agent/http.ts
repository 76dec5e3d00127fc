import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import { CodedError, errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";

/** A request that cannot be answered, with the status that says why. */
export class ApiError extends CodedError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(`http-${status}`, message);
    this.status = status;
  }
}

export interface ApiRequest {
  /** The parts of the path that the route's `{…}` stand for, decoded. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  /** The JSON of the body; undefined without one. */
  readonly body: unknown;
}

/** Answers with JSON, text (a string), or writes by itself as long as the client listens. */
export type ApiHandler = (request: ApiRequest) => unknown;
export interface StreamHandler {
  stream(request: ApiRequest, write: (line: string) => boolean, signal: AbortSignal): void;
}

/** `GET /v1/endpoint/{id}` → handler. */
export type Routes = Readonly<Record<string, ApiHandler | StreamHandler>>;

const MAX_BODY = 1024 * 1024;

/** Serves the routes on a unix socket for root and its group. */
export async function startApi(
  deps: { readonly routes: Routes; readonly log: Logger },
  config: { readonly path: string },
): Promise<AsyncDisposable> {
  const table = compile(deps.routes);
  const server = createServer((request, response) => {
    respond(table, request, response).catch((thrown: unknown) => {
      const status = thrown instanceof ApiError ? thrown.status : 500;
      if (status === 500) deps.log.error("API request failed", { url: request.url, error: errorMessage(thrown) });
      if (response.headersSent) response.destroy();
      else sendJson(response, status, { message: errorMessage(thrown) });
    });
  });
  mkdirSync(dirname(config.path), { recursive: true });
  rmSync(config.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.path, resolve);
  });
  chmodSync(config.path, 0o660);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Route {
  readonly method: string;
  readonly pattern: RegExp;
  readonly handler: ApiHandler | StreamHandler;
}

function compile(routes: Routes): readonly Route[] {
  return Object.entries(routes).map(([text, handler]) => {
    const [method = "", path = ""] = text.split(" ");
    return { method, handler, pattern: new RegExp(`^${path.replaceAll(/\{[^}]*\}/g, "([^/]+)")}$`) };
  });
}

async function respond(table: readonly Route[], request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://agent");
  const matching = table.filter(({ pattern }) => pattern.test(url.pathname));
  const route = matching.find(({ method }) => method === request.method);
  if (!route) throw new ApiError(matching.length > 0 ? 405 : 404, `${request.method} ${url.pathname}: no such resource`);
  const parameters = (route.pattern.exec(url.pathname) ?? []).slice(1).map(decode);
  const api: ApiRequest = { parameters, query: url.searchParams, body: await readBody(request) };
  if (typeof route.handler !== "function") {
    stream(route.handler, api, response);
    return;
  }
  const answer: unknown = await route.handler(api);
  if (typeof answer === "string") response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end(answer);
  else sendJson(response, 200, answer);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ApiError(400, `the path has "${text}", which is no percent-encoded UTF-8`);
  }
}

function stream(handler: StreamHandler, request: ApiRequest, response: ServerResponse): void {
  const controller = new AbortController();
  response.on("close", () => controller.abort());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  handler.stream(request, (line) => response.write(`${line}\n`), controller.signal);
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > MAX_BODY) throw new ApiError(413, "the body is larger than 1 MiB");
  }
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new ApiError(400, "the body is no JSON");
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? String(item) : item)) ?? "null";
  response.writeHead(status, { "content-type": "application/json" }).end(`${text}\n`);
}
