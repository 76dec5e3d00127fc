import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatMetrics, metricsList } from "./metrics.ts";

describe("metrics list", () => {
  it("prints names, labels and values in columns", () => {
    const metrics = [
      { name: "cilium_endpoint", labels: {}, value: 3 },
      { name: "cilium_drop_count_total", labels: { reason: 'Policy "denied"', direction: "INGRESS" }, value: 12.5 },
    ];
    assert.equal(
      formatMetrics(metrics),
      [
        "Metric                    Labels                                           Value",
        "cilium_endpoint                                                            3.000000",
        'cilium_drop_count_total   reason="Policy \\"denied\\"" direction="INGRESS"   12.500000',
        "",
      ].join("\n"),
    );
  });

  it("refuses a pattern that is none", async () => {
    await assert.rejects(metricsList({ namespace: "kube-system", matchPattern: "(" }), {
      code: "bad-pattern",
      message: '--match-pattern: "(" is no regular expression, such as cilium_drop.*',
    });
  });
});
