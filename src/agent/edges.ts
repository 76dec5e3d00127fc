import { createServer } from "node:http";
import type { SelfNode } from "#node/self.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import { createMetrics, serveMetrics } from "#runtime/metrics.ts";
import { apiRoutes } from "./api.ts";
import { type AgentConfig, parseListenAddress } from "./config.ts";
import type { Counters } from "./counters.ts";
import type { EndpointControl } from "./endpoint-control.ts";
import { startApi } from "./http.ts";
import { startHubble } from "./hubble.ts";
import type { Kernel } from "./kernel.ts";
import type { Loops } from "./loops.ts";
import { registerAgentMetrics } from "./metrics.ts";
import type { MonitorHub } from "./monitor-hub.ts";
import type { Phase } from "./phase.ts";
import type { ProxyClient } from "./proxy-client.ts";
import type { AgentState } from "./state.ts";
import type { Usage } from "./usage.ts";

/** Everything an answer about the agent is made of. */
export interface EdgeDeps {
  readonly log: Logger;
  readonly health: Health;
  readonly state: AgentState;
  readonly kernel: Kernel;
  readonly loops: Loops;
  readonly proxy: ProxyClient;
  readonly hub: MonitorHub;
  readonly control: EndpointControl;
  readonly self: SelfNode;
  readonly phase: Phase;
  readonly usage: Usage;
  readonly counters: Counters;
  /** Version of the API server. */
  readonly kubernetes: string;
}

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
