import { release } from "node:os";
import type { Registry } from "#runtime/metrics.ts";
import { VERSION } from "#runtime/version.ts";
import { optionsOf } from "./api-parameters.ts";
import type { AgentConfig } from "./config.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { endpointJson } from "./endpoint-api.ts";
import type { Routes } from "./http.ts";
import type { RunningHubble } from "./hubble.ts";
import { createRuntimeOptions } from "./options.ts";
import { policyList } from "./policy-api.ts";
import { serviceList } from "./service-api.ts";
import { agentStatus, monitorStatus } from "./status.ts";

export interface ApiDeps extends EdgeDeps {
  readonly hubble: RunningHubble | undefined;
  readonly registry: Registry;
}

/** How the agent is, its settings and metrics. */
export function statusRoutes(deps: ApiDeps, config: AgentConfig): Routes {
  const { state, registry } = deps;
  const options = createRuntimeOptions(deps, config);
  const settings = () => daemonConfiguration(deps, config, options.read());
  return {
    "GET /v1/healthz": () => agentStatus(deps, config),
    "GET /v1/config": settings,
    "PATCH /v1/config": async ({ body }) => {
      options.change(daemonOptionsOf(body));
      await deps.loops.pipeline.settled();
      return settings();
    },
    "GET /v1/metrics": async () => {
      const families = await registry.getMetricsAsJSON();
      return families.flatMap(({ name, values }) =>
        values.map((one) => ({ name: sampleName(one) ?? name, labels: one.labels, value: one.value })),
      );
    },
    "GET /v1/debuginfo": () => ({
      "cilium-status": agentStatus(deps, config),
      "cilium-version": VERSION,
      "kernel-version": release(),
      "endpoint-list": [...state.endpoints.list()].map((row) => endpointJson(deps, row)),
      "service-list": serviceList(deps),
      policy: policyList(deps),
      // Kept out: an environment is where secrets are.
      "environment-variables": [],
      subsystem: Object.fromEntries(state.db.tables().map(({ name }) => [name, state.db.show(name)])),
      config: settings(),
    }),
  };
}

/** A histogram's samples have names of their own: `…_bucket`, `…_sum`, `…_count`. */
function sampleName(sample: object): string | undefined {
  return "metricName" in sample && typeof sample.metricName === "string" ? sample.metricName : undefined;
}

/** The settings as upstream's `DaemonConfiguration`. */
function daemonConfiguration({ kernel }: ApiDeps, config: AgentConfig, options: Readonly<Record<string, string>>): unknown {
  const { PolicyEnforcement: enforcement, ...mutable } = options;
  const spec = { options: mutable, "policy-enforcement": enforcement };
  return {
    spec,
    status: {
      daemonConfigurationMap: config,
      realized: spec,
      "ipam-mode": config.ipam,
      "k8s-configuration": config["k8s-kubeconfig-path"],
      datapathMode: "veth",
      nodeMonitor: monitorStatus(kernel),
    },
  };
}

/** The enforcement has a place of its own beside the options, as upstream; among them it is taken, too. */
function daemonOptionsOf(body: unknown): Record<string, unknown> {
  const enforcement = (body as { "policy-enforcement"?: unknown } | undefined)?.["policy-enforcement"];
  if (enforcement === undefined || enforcement === "") return optionsOf(body);
  return { PolicyEnforcement: enforcement, ...((body as { options?: Record<string, unknown> }).options ?? {}) };
}
