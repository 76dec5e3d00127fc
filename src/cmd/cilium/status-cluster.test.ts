import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContainerStatus, Pod } from "#k8s/types.ts";
import { reasonOf } from "./status-cluster.ts";

const pod = (phase: string, status?: Partial<ContainerStatus>): Pod => ({
  metadata: { name: "cilium-x1" },
  spec: { nodeName: "worker" },
  status: { phase, ...(status ? { containerStatuses: [{ name: "cilium-agent", ready: false, restartCount: 0, ...status }] } : {}) },
});
const terminated = { exitCode: 137, finishedAt: "2026-01-01T00:00:00Z" };

describe("why a pod is not ready", () => {
  it("is said in a line, and whether it comes back by itself", () => {
    const restarting = "cilium-x1 on worker: agent restarting, it ended with status 137 at 2026-01-01T00:00:00Z, restart";
    for (const [given, text, restarts] of [
      [pod("Running", { restartCount: 1, lastState: { terminated } }), `${restarting} 1`, true],
      [pod("Running", { state: { terminated } }), `${restarting} 0`, true],
      [
        pod("Running", { restartCount: 2, lastState: { terminated }, state: { waiting: { reason: "CrashLoopBackOff" } } }),
        `${restarting} 2`,
        true,
      ],
      [pod("Running", { restartCount: 5, lastState: { terminated } }), `${restarting.replace("restarting", "keeps ending")} 5`, false],
      [pod("Running", {}), "cilium-x1 on worker has started and is not ready yet", false],
      [pod("Pending"), "cilium-x1 on worker is Pending", false],
    ] as const) {
      assert.deepEqual(reasonOf(given), { text, restarts });
    }
  });
});
