import type { Step } from "#reconciler/pipeline.ts";
import type { Table } from "#statedb/table.ts";
import type { Counters } from "./counters.ts";
import type { MonitorHub } from "./monitor-hub.ts";
import type { PolicyRow } from "./policies.ts";

const DERIVED = "k8s:io.cilium.k8s.policy";

/** Tells monitor and metrics of changed rules once they are in the kernel: the last step of the pipeline. */
export function createPolicyEvents(
  deps: { readonly policies: Table<PolicyRow>; readonly hub: MonitorHub; readonly counters: Counters },
  config: { readonly isRestored: () => boolean; readonly revision: () => number },
): Step {
  const changes = deps.policies.observe();
  return {
    name: "policy-events",
    onWork: (fn) => changes.onReady(fn),
    run() {
      if (!config.isRestored()) return;
      for (const { row, previous } of changes.take()) {
        const policy = (row ?? previous)?.parsed;
        if (!policy) continue;
        const { kind, namespace, name, uid } = policy.ref;
        const labels = [
          `${DERIVED}.derived-from=${kind}`,
          `${DERIVED}.name=${name}`,
          `${DERIVED}.namespace=${namespace}`,
          `${DERIVED}.uid=${uid}`,
        ];
        const ruleCount = row ? new Set(row.parsed.rules.map(({ origin }) => origin.spec)).size : 0;
        deps.hub.agent({ kind: row ? "policy-updated" : "policy-deleted", labels, revision: config.revision(), ruleCount });
        if (row) deps.counters.policyDelay((Date.now() - row.heardAt) / 1000);
      }
    },
  };
}
