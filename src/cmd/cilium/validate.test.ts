import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { validateDocuments } from "./validate.ts";

const policy = (spec: string, head = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy") =>
  `${head}\nmetadata: { name: p, namespace: n }\nspec:\n${spec}`;
const GOOD = "  endpointSelector: {}\n  ingress: [{}]\n";
const BAD = "  endpointSelector: {}\n  egress:\n    - toCIDR: [10.0.0/8]\n";

describe("validateDocuments", () => {
  it("names file, line and column", () => {
    const [result] = validateDocuments("f.yaml", policy(BAD));
    assert.match(result?.errors[0] ?? "", /^f\.yaml:7:16: spec\.egress\[0\]\.toCIDR\[0\]: /);
  });
  it("looks at every document and into Lists", () => {
    const list = `apiVersion: v1\nkind: List\nitems:\n- ${policy(BAD).replaceAll("\n", "\n  ").trimEnd()}\n`;
    const results = validateDocuments("f.yaml", `${policy(GOOD)}---\n${list}`);
    assert.deepEqual(
      results.map(({ errors }) => errors.length),
      [0, 1],
    );
    assert.match(results[1]?.errors[0] ?? "", /^f\.yaml:1\d:\d+: spec\.egress/);
  });
  it("refuses a misspelt kind and another version of ours, and passes over what is no policy", () => {
    assert.match(
      validateDocuments("f", policy(GOOD, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolcy"))[0]?.errors[0] ?? "",
      /kind: found "CiliumNetworkPolcy"/,
    );
    assert.match(
      validateDocuments("f", policy(GOOD, "apiVersion: cilium.io/v9\nkind: CiliumNetworkPolicy"))[0]?.errors[0] ?? "",
      /cilium\.io\/v2 is needed/,
    );
    assert.deepEqual(validateDocuments("f", "apiVersion: v1\nkind: Service\nmetadata: { name: s }\n"), []);
  });
});
