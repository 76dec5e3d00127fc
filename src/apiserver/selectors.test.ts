import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { matchesLabelSelector, parseFieldSelector, parseLabelSelector } from "./selectors.ts";

describe("label selectors", () => {
  const labels = { app: "web", tier: "front", n: "5" };
  const cases: readonly [selector: string, matches: boolean][] = [
    ["app=web", true],
    ["app==web,tier!=back", true],
    ["app!=web", false],
    ["missing!=x", true],
    ["app in (web, api)", true],
    ["app notin (web,api),tier=front", false],
    ["tier", true],
    ["!tier", false],
    ["!missing", true],
    ["n>4", true],
    ["n<4", false],
    ["k8s.io/x", false],
  ];
  for (const [selector, matches] of cases)
    it(`${selector} is ${matches}`, () => assert.equal(parseLabelSelector(selector)?.(labels), matches));
  for (const bad of ["a=b=c", "in (a)", "a in b", "=", "a b"])
    it(`refuses ${bad}`, () => assert.throws(() => parseLabelSelector(bad), /unable to parse requirement/));
  it("that are empty select everything", () => assert.equal(parseLabelSelector(" "), undefined));
});

describe("field selectors", () => {
  const object = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", uid: "", resourceVersion: "", creationTimestamp: "" },
    spec: { nodeName: "n" },
  };
  it("compare scalars; an absent field is empty", () => {
    const matches = (selector: string) => parseFieldSelector(selector)?.(object);
    assert.deepEqual(["metadata.name=p", "spec.nodeName!=n", "status.phase=", "status.phase!=Running,spec.nodeName==n"].map(matches), [
      true,
      false,
      true,
      true,
    ]);
  });
  it("refuse a field that there is not", () =>
    assert.throws(
      () => parseFieldSelector("metadata.name=a,status.pahse=b", ([first]) => first === "metadata"),
      /field label not supported: status\.pahse$/,
    ));
  it("refuse what they cannot read", () => assert.throws(() => parseFieldSelector("a"), /cannot read/));
});

describe("LabelSelector objects", () => {
  it("match labels and expressions", () => {
    const selector = {
      matchLabels: { a: "1" },
      matchExpressions: [
        { key: "b", operator: "In", values: ["2", "3"] },
        { key: "c", operator: "DoesNotExist" },
      ],
    };
    assert.ok(matchesLabelSelector(selector, { a: "1", b: "3" }));
    assert.ok(!matchesLabelSelector(selector, { a: "1", b: "3", c: "" }));
    assert.ok(matchesLabelSelector({}, {}));
    assert.ok(!matchesLabelSelector(null, {}));
  });
});
