import { createServer, type Server } from "node:http";
import type { Registry } from "prom-client";

export type { Counter, Gauge, Histogram, Registry } from "prom-client";

export interface MetricsEndpoint extends AsyncDisposable {
  readonly port: number;
}

/** An empty metrics registry. prom-client is loaded on first use, since commands that only print need none. */
export async function createMetrics(): Promise<Registry> {
  const { Registry } = await import("prom-client");
  return new Registry();
}

/** Where metrics are served: an address, or a listening socket (its descriptor). */
export type MetricsAddress = { readonly host: string; readonly port: number } | { readonly fd: number };

/** Serves the registry at `/metrics`, Prometheus text format. Rejects when the address is taken. */
export async function serveMetrics(registry: Registry, address: MetricsAddress): Promise<MetricsEndpoint> {
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") {
      response.writeHead(404).end("not found; metrics are at /metrics\n");
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
      (thrown: unknown) => response.writeHead(500).end(`${String(thrown)}\n`),
    );
  });
  await listen(server, address);
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, address: MetricsAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
