import { createServer } from "node:http";
import { createMetrics, serveMetrics } from "#runtime/metrics.ts";
import { apiRoutes } from "./api.ts";
import { type AgentConfig, parseListenAddress } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { startApi } from "./http.ts";
import { startHubble } from "./hubble.ts";
import { registerAgentMetrics } from "./metrics.ts";
import type { Phase } from "./phase.ts";

/** Hubble, the local API, metrics and health: all that others ask us. */
export async function startEdges(deps: EdgeDeps, config: AgentConfig): Promise<AsyncDisposable> {
  const scope = new AsyncDisposableStack();
  const hubble = config["enable-hubble"] ? scope.use(await startHubble(deps, config)) : undefined;
  const registry = await createMetrics();
  await registerAgentMetrics(registry, deps);
  scope.use(
    await startApi(
      { routes: apiRoutes({ ...deps, hubble, registry }, config), log: deps.log.child("api") },
      { path: config["socket-path"] },
    ),
  );
  const metrics = parseListenAddress(config["prometheus-serve-addr"]);
  if (metrics) scope.use(await serveMetrics(registry, metrics));
  if (config["agent-health-port"] > 0) scope.use(await serveHealth(deps.phase, config["agent-health-port"]));
  return scope;
}

/** `/healthz` for the kubelet: 200 once the node's endpoints are in our hands. */
async function serveHealth(phase: Phase, port: number): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    if (request.url !== "/healthz") response.writeHead(404).end();
    else response.writeHead(phase.is === "ready" ? 200 : 503).end(`${phase.is}\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
