import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { fromFieldsV1, SEPARATOR, toFieldsV1 } from "./fieldset.ts";
import { applyJsonPatch } from "./json.ts";

const step = fc.constantFrom("f:a", "f:b", 'k:{"name":"x"}', 'v:"y"', "f:.");
const paths = fc.array(
  fc.array(step, { minLength: 1, maxLength: 4 }).map((steps) => steps.join(SEPARATOR)),
  { maxLength: 20 },
);

describe("field sets", () => {
  it("survive the way through FieldsV1", () => {
    fc.assert(
      fc.property(paths, (list) => assert.deepEqual(fromFieldsV1(toFieldsV1(list)), new Set(list))),
      { numRuns: 300 },
    );
  });
});

describe("JSON patch", () => {
  it("fails with an answer for the client, or succeeds, whatever it is given", () => {
    const operation = fc.record({
      op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test"),
      path: fc.constantFrom("/a", "/a/0", "/a/-", "", "/b/c", "x"),
      from: fc.constantFrom("/a", "/b", "/a/1"),
      value: fc.jsonValue(),
    });
    fc.assert(
      fc.property(fc.jsonValue(), fc.array(operation, { maxLength: 5 }), (document, patch) => {
        try {
          applyJsonPatch(document, patch);
        } catch (thrown) {
          assert.equal((thrown as Error).name, "ApiError");
        }
      }),
      { numRuns: 300 },
    );
  });
});
