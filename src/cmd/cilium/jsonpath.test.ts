import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { evaluateJsonPath } from "./jsonpath.ts";

const endpoints = [
  { id: 7, status: { policy: { realized: { "policy-revision": 12 } }, labels: ["a", "b"] } },
  { id: 9, status: { policy: { realized: { "policy-revision": 13 } }, labels: [] } },
];

const cases: readonly [template: string, expected: string][] = [
  ["{[0].status.policy.realized.policy-revision}", "12"],
  ["{[*].id}", "7 9"],
  ["{[-1].id}", "9"],
  ["{.[0].id}", "7"],
  ["{$[0].id}", "7"],
  ["{[0]['id']}", "7"],
  ["{[0].status.labels[*]}", "a b"],
  ["{[0].status.labels}", '["a","b"]'],
  ["id={[1].id};", "id=9;"],
  ["{range [*]}{.id}{'\\n'}{end}".replace("'\\n'", '"\\n"'), "7\n9\n"],
  ["{[?(@.id==9)].status.policy.realized.policy-revision}", "13"],
  ["{..policy-revision}", "12 13"],
  ["{.nothing.here}", ""],
];

describe("evaluateJsonPath", () => {
  for (const [template, expected] of cases) {
    it(template, () => assert.equal(evaluateJsonPath(template, endpoints), expected));
  }
  it("says what it cannot read", () => {
    assert.throws(() => evaluateJsonPath("{.a", {}), /unclosed action/);
    assert.throws(() => evaluateJsonPath("{range .a}", {}), /without \{end\}/);
    assert.throws(() => evaluateJsonPath("{[}", {}), /cannot read "\["/);
  });
});
