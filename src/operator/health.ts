import { once } from "node:events";
import { createServer } from "node:http";

/** Serves `/healthz`: 200 while the API server answers, else 503 with the reason. */
export async function serveHealth(
  address: { readonly host: string; readonly port: number },
  check: () => Promise<void>,
): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    if (request.url !== "/healthz" && request.url !== "/v1/healthz") {
      response.writeHead(404).end();
      return;
    }
    check().then(
      () => response.writeHead(200).end("ok"),
      (thrown: unknown) => response.writeHead(503).end(String(thrown)),
    );
  });
  server.listen(address.port, address.host);
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
