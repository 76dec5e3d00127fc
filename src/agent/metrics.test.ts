import assert from "node:assert/strict";
import { it } from "node:test";
import { createMetrics } from "#runtime/metrics.ts";
import { createCounters } from "./counters.ts";
import type { EdgeDeps } from "./edge-deps.ts";
import { registerAgentMetrics } from "./metrics.ts";

/** Answers anything with itself, and lists nothing. */
const anything: object = new Proxy(() => anything, { get: (_, key) => (key === Symbol.iterator ? function* () {} : anything) });

it("the agent's metrics have a name each: one used twice would keep the agent from starting", async () => {
  const registry = await createMetrics();
  const rest = { counters: createCounters(), hub: { subscribe: () => undefined }, limits: { policyEntries: 1 } };
  const deps = new Proxy(rest, { get: (given, key) => Reflect.get(given, key) ?? anything });
  await registerAgentMetrics(registry, deps as unknown as EdgeDeps);
  const names = registry.getMetricsAsArray().map(({ name }) => name);
  assert(names.length > 40, `${names.length} metrics`);
  for (const name of names) assert.match(name, /^cilium_[a-z0-9_]+$/);
});
