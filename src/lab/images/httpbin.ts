// The parts of httpbin that guides use; every other path is 404.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { declaredPorts, stopOnSignal } from "./ports.ts";

const MOST_DELAY_SECONDS = 10;
const MOST_BYTES = 100 * 1024;
const METHODS: Readonly<Record<string, string>> = { "/get": "GET", "/post": "POST", "/put": "PUT", "/patch": "PATCH", "/delete": "DELETE" };

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const entries = request.rawHeaders.flatMap((name, index, all) => (index % 2 === 0 ? [[name, all[index + 1] ?? ""] as const] : []));
  return Object.fromEntries(entries);
}

function describe(request: IncomingMessage, url: URL, body: Buffer): Record<string, unknown> {
  const text = body.toString();
  const type = request.headers["content-type"] ?? "";
  const form = type.startsWith("application/x-www-form-urlencoded") ? Object.fromEntries(new URLSearchParams(text)) : {};
  return {
    args: Object.fromEntries(url.searchParams),
    data: Object.keys(form).length > 0 ? "" : text,
    files: {},
    form,
    headers: headersOf(request),
    json: type.includes("json") ? parseJson(text) : null,
    method: request.method,
    origin: (request.socket.remoteAddress ?? "").replace("::ffff:", ""),
    url: url.href,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  const body = `${JSON.stringify(value, null, 2)}\n`;
  response
    .writeHead(status, { server: "gunicorn/19.9.0", "content-type": "application/json", "content-length": Buffer.byteLength(body) })
    .end(body);
}

function sendError(response: ServerResponse, status: number, title: string): void {
  response.writeHead(status, { server: "gunicorn/19.9.0", "content-type": "text/html" });
  response.end(`<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<title>${status} ${title}</title>\n<h1>${title}</h1>\n`);
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", `http://${request.headers.host ?? "localhost"}`);
  const body = await readBody(request);
  const [, first = "", second = ""] = url.pathname.split("/");
  const only = METHODS[url.pathname];
  if (only) {
    if (request.method === only || (only === "GET" && request.method === "HEAD")) sendJson(response, describe(request, url, body));
    else sendError(response, 405, "Method Not Allowed");
    return;
  }
  switch (first) {
    case "":
      response.writeHead(200, { "content-type": "text/html" }).end("<!DOCTYPE html>\n<title>httpbin.org</title>\n");
      return;
    case "anything":
      return sendJson(response, describe(request, url, body));
    case "headers":
      return sendJson(response, { headers: headersOf(request) });
    case "ip":
      return sendJson(response, { origin: (request.socket.remoteAddress ?? "").replace("::ffff:", "") });
    case "user-agent":
      return sendJson(response, { "user-agent": request.headers["user-agent"] ?? "" });
    case "status":
      response.writeHead(Math.min(599, Math.max(200, Number(second) || 400)), { "content-length": 0 }).end();
      return;
    case "delay":
      await new Promise((resolve) => setTimeout(resolve, Math.min(Number(second) || 0, MOST_DELAY_SECONDS) * 1000));
      return sendJson(response, describe(request, url, body));
    case "bytes":
      response
        .writeHead(200, { "content-type": "application/octet-stream" })
        .end(Buffer.alloc(Math.min(Number(second) || 0, MOST_BYTES), "x"));
      return;
    default:
      return sendError(response, 404, "Not Found");
  }
}

stopOnSignal();
for (const port of declaredPorts()) {
  createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  }).listen(port, "::");
}
