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

export interface ServeOptions {
  /** Whether clients that ask for OpenMetrics get it, with exemplars; the others get Prometheus' text format as ever. */
  readonly openMetrics?: boolean;
  /** Told of every answer: its HTTP status, and the seconds it took. */
  readonly onAnswer?: (code: number, seconds: number) => void;
}

/** Serves the registry at `/metrics`, Prometheus text format. Rejects when the address is taken. */
export async function serveMetrics(registry: Registry, address: MetricsAddress, options: ServeOptions = {}): Promise<MetricsEndpoint> {
  const server = createServer((request, response) => {
    const start = performance.now();
    if (request.url !== "/metrics") {
      response.writeHead(404).end("not found; metrics are at /metrics\n");
      return;
    }
    const wantsOpen = options.openMetrics === true && /\bapplication\/openmetrics-text\b/.test(request.headers.accept ?? "");
    const page = wantsOpen ? openMetricsOf(registry) : plainMetricsOf(registry);
    page.then(
      ({ type, text }) => response.writeHead(200, { "content-type": type }).end(text),
      (thrown: unknown) => response.writeHead(500).end(`${String(thrown)}\n`),
    );
    response.on("finish", () => options.onAnswer?.(response.statusCode, (performance.now() - start) / 1000));
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

interface Page {
  readonly type: string;
  readonly text: string;
}

async function plainMetricsOf(registry: Registry): Promise<Page> {
  return { type: registry.contentType, text: await registry.metrics() };
}

/** prom-client renames the counters of a registry for good when it writes OpenMetrics: it gets stand-ins to rename. */
async function openMetricsOf(registry: Registry): Promise<Page> {
  const { Registry } = await import("prom-client");
  const type = Registry.OPENMETRICS_CONTENT_TYPE;
  const open = new Registry<typeof type>();
  open.setContentType(type);
  for (const { name } of registry.getMetricsAsArray()) {
    const metric = registry.getSingleMetric(name);
    if (metric) open.registerMetric(Object.create(metric) as typeof metric);
  }
  return { type, text: await open.metrics() };
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
