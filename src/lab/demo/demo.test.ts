import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readExample } from "./manifests.ts";
import { judge, PROBES, STEPS } from "./steps.ts";
import { formatHeading, formatRow, isAsExpected, painter, type Row } from "./table.ts";

const probe = (name: string) => PROBES.find((one) => one.name === name) ?? assert.fail(name);

describe("what a probe saw", () => {
  const cases: readonly (readonly [name: string, code: number, stdout: string, seen: string])[] = [
    ["get", 0, "200", "200"],
    ["post", 0, "403\n", "403"],
    ["get", 28, "000", "dropped"],
    ["get", 7, "000", "curl 7"],
    ["dns", 0, "10.96.12.1\n", "resolved"],
    ["dns", 0, "", "status 0"],
    ["dns", 9, ";; timed out", "dropped"],
  ];
  for (const [name, code, stdout, seen] of cases) {
    it(`${name} with ${code} is ${seen}`, () => assert.equal(judge(probe(name), code, stdout), seen));
  }
});

describe("the table", () => {
  const [first] = STEPS;
  assert.ok(first);
  it("says what was expected and what was seen, in columns", () => {
    const row: Row = { ...first.expected, world: "dropped" };
    assert.equal(isAsExpected(first, first.expected), true);
    assert.equal(isAsExpected(first, row), false);
    const line = formatRow(0, first, row, painter(false));
    assert.match(line, /^0 no policy +resolved +✓ resolved +200 +✓ 200 .* 200 +✗ dropped$/);
    const [probes = "", halves = ""] = formatHeading(painter(false)).split("\n");
    assert.equal(probes.indexOf("backend: world"), line.lastIndexOf("200 "));
    assert.equal(halves.lastIndexOf("expected"), line.lastIndexOf("200 "));
    assert.equal(halves.lastIndexOf("seen"), line.lastIndexOf("dropped"));
  });
});

describe("the examples", () => {
  it("are all there and named as the steps name them", () => {
    const names = STEPS.flatMap(({ file }) => (file ? readExample(file) : [])).map(({ metadata }) => metadata.name);
    assert.ok(names.includes("default-deny") && names.includes("deny-backend-to-world"));
    assert.equal(readExample("00-apps.yaml").filter(({ kind }) => kind === "Deployment").length, 3);
  });
});
