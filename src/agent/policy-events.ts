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
        const labels = labelsOf(policy.ref);
        const ruleCount = row ? new Set(row.parsed.rules.map(({ origin }) => origin.spec)).size : 0;
        deps.hub.agent({ kind: row ? "policy-updated" : "policy-deleted", labels, revision: config.revision(), ruleCount });
        count(deps.counters, row);
      }
    },
  };
}

function count(counters: Counters, row: PolicyRow | undefined): void {
  counters.policyChanges.add({ outcome: row?.refused ? "failure" : "success" });
  if (row) counters.policyDelay((Date.now() - row.heardAt) / 1000);
}

function labelsOf({ kind, namespace, name, uid }: PolicyRow["parsed"]["ref"]): string[] {
  return [`${DERIVED}.derived-from=${kind}`, `${DERIVED}.name=${name}`, `${DERIVED}.namespace=${namespace}`, `${DERIVED}.uid=${uid}`];
}
