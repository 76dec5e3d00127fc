import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { policyLearn } from "./policy-learn.ts";
import { policyWhatIf } from "./policy-what-if.ts";

const options = { namespace: "kube-system", flows: ["/dev/null"], since: "1h" };

describe("no flows", () => {
  it("teach nothing, which is no answer", () => assert.rejects(policyLearn({ ...options, wanted: "nope" }), /no flows to replay/));

  it("say nothing about a change, which is no answer", () =>
    assert.rejects(
      policyWhatIf(["examples/policy-tools/after"], { ...options, remove: [], policies: ["examples/policy-tools/before"] }),
      /no flows to replay/,
    ));
});
