// Answers as nginx:1.27-alpine does with its default site.
import { createServer, type ServerResponse } from "node:http";
import { declaredPorts, finishOnSignal } from "./ports.ts";

const SERVER = "nginx/1.27.5";
const MODIFIED = "Wed, 16 Apr 2025 12:55:34 GMT";
const ETAG = '"67ffa8c6-267"';

const WELCOME = `<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p>For online documentation and support please refer to
<a href="http://nginx.org/">nginx.org</a>.<br/>
Commercial support is available at
<a href="http://nginx.com/">nginx.com</a>.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
`;

function errorPage(title: string): string {
  return `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n<hr><center>${SERVER}</center>\r\n</body>\r\n</html>\r\n`;
}

// Names in nginx's own spelling and order.
function send(
  response: ServerResponse,
  status: number,
  body: string,
  headers: readonly (readonly [string, string])[],
  withBody: boolean,
): void {
  response.sendDate = false;
  const common = [
    ["Server", SERVER],
    ["Date", new Date().toUTCString()],
    ["Content-Type", "text/html"],
    ["Content-Length", String(Buffer.byteLength(body))],
  ] as const;
  response.writeHead(status, [...common, ...headers].flat());
  response.end(withBody ? body : undefined);
}

const server = createServer((request, response) => {
  const { method = "GET", url = "/" } = request;
  const path = url.split("?")[0];
  const connection = ["Connection", request.headers.connection === "close" ? "close" : "keep-alive"] as const;
  request.resume();
  const reading = method === "GET" || method === "HEAD";
  if (path !== "/" && path !== "/index.html") send(response, 404, errorPage("404 Not Found"), [connection], method !== "HEAD");
  else if (!reading) send(response, 405, errorPage("405 Not Allowed"), [connection], true);
  else
    send(response, 200, WELCOME, [["Last-Modified", MODIFIED], connection, ["ETag", ETAG], ["Accept-Ranges", "bytes"]], method === "GET");
});

finishOnSignal(server);
const [first, ...more] = declaredPorts();
server.listen(first ?? 80, "::");
for (const port of more) createServer((request, response) => server.emit("request", request, response)).listen(port, "::");
