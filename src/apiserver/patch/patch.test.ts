import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { modelSchema, resolveModel } from "../schema/models.ts";
import { applyJsonPatch } from "./json.ts";
import { applyMergePatch } from "./merge.ts";
import { applyStrategicPatch } from "./strategic.ts";

describe("JSON patch", () => {
  const cases: readonly [title: string, document: unknown, patch: unknown, result: unknown][] = [
    ["adds a member", { a: 1 }, [{ op: "add", path: "/b", value: 2 }], { a: 1, b: 2 }],
    ["inserts into a list", { a: [1, 3] }, [{ op: "add", path: "/a/1", value: 2 }], { a: [1, 2, 3] }],
    ["appends to a list", { a: [1] }, [{ op: "add", path: "/a/-", value: 2 }], { a: [1, 2] }],
    ["removes", { a: [1, 2] }, [{ op: "remove", path: "/a/0" }], { a: [2] }],
    ["replaces the whole", { a: 1 }, [{ op: "replace", path: "", value: [] }], []],
    ["moves", { a: { b: 1 } }, [{ op: "move", from: "/a/b", path: "/c" }], { a: {}, c: 1 }],
    ["copies", { a: [1] }, [{ op: "copy", from: "/a", path: "/b" }], { a: [1], b: [1] }],
    ["reads escaped names", { "a/b~c": 1 }, [{ op: "replace", path: "/a~1b~0c", value: 2 }], { "a/b~c": 2 }],
    ["tests", { a: { b: [1] } }, [{ op: "test", path: "/a", value: { b: [1] } }], { a: { b: [1] } }],
  ];
  for (const [title, document, patch, result] of cases) it(title, () => assert.deepEqual(applyJsonPatch(document, patch), result));

  const bad: readonly [title: string, patch: unknown, message: RegExp][] = [
    ["a missing member", [{ op: "remove", path: "/b" }], /there is no "b"/],
    ["a failed test", [{ op: "test", path: "/a", value: 2 }], /differs/],
    ["an index outside", [{ op: "add", path: "/l/5", value: 2 }], /index 5/],
    ["an unknown operation", [{ op: "frob", path: "/a" }], /unknown op "frob"/],
    ["a path without slash", [{ op: "add", path: "a", value: 2 }], /must start with/],
    ["something else than a list", {}, /must be an array/],
    ["the prototype", [{ op: "add", path: "/__proto__", value: {} }], /not a field name/],
  ];
  for (const [title, patch, message] of bad)
    it(`refuses ${title}`, () => assert.throws(() => applyJsonPatch({ a: 1, l: [1] }, patch), message));

  it("leaves the document alone", () => {
    const document = Object.freeze({ a: Object.freeze([1]) });
    assert.deepEqual(applyJsonPatch(document, [{ op: "add", path: "/a/-", value: 2 }]), { a: [1, 2] });
  });
});

describe("merge patch", () => {
  it("merges objects, replaces lists and drops nulls", () => {
    assert.deepEqual(applyMergePatch({ a: { b: 1, c: 2 }, l: [1] }, { a: { b: null, d: 3 }, l: [2] }), { a: { c: 2, d: 3 }, l: [2] });
  });
});

describe("strategic merge patch", () => {
  const patchPod = (spec: object, patch: object) =>
    (applyStrategicPatch(modelSchema("core/v1.Pod"), resolveModel, { spec }, { spec: patch }) as { spec: unknown }).spec;
  const containers = [
    { name: "a", image: "1" },
    { name: "b", image: "1" },
  ];

  it("merges containers by name", () => {
    assert.deepEqual(patchPod({ containers }, { containers: [{ name: "b", image: "2" }] }), {
      containers: [
        { name: "a", image: "1" },
        { name: "b", image: "2" },
      ],
    });
  });
  it("adds, deletes and orders items", () => {
    const patch = {
      containers: [
        { name: "a", $patch: "delete" },
        { name: "c", image: "3" },
      ],
      "$setElementOrder/containers": [{ name: "c" }, { name: "b" }],
    };
    assert.deepEqual(patchPod({ containers }, patch), {
      containers: [
        { name: "c", image: "3" },
        { name: "b", image: "1" },
      ],
    });
  });
  it("replaces a list that has no merge key", () => {
    assert.deepEqual(patchPod({ tolerations: [{ key: "a" }] }, { tolerations: [{ key: "b" }] }), { tolerations: [{ key: "b" }] });
  });
  it("replaces a merged list when told so", () => {
    assert.deepEqual(patchPod({ containers }, { containers: [{ $patch: "replace" }, { name: "z" }] }), { containers: [{ name: "z" }] });
  });
  it("keeps only the named keys of a volume", () => {
    const volumes = [{ name: "v", emptyDir: {} }];
    assert.deepEqual(patchPod({ volumes }, { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/" } }] }), {
      volumes: [{ name: "v", hostPath: { path: "/" } }],
    });
  });
  it("takes values out of lists of scalars", () => {
    const schema = modelSchema("core/v1.Pod");
    const document = { metadata: { finalizers: ["a", "b"] } };
    const patch = { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"], finalizers: ["c"] } };
    assert.deepEqual(applyStrategicPatch(schema, resolveModel, document, patch), { metadata: { finalizers: ["b", "c"] } });
  });
  it("refuses an item without its key", () => {
    assert.throws(() => patchPod({ containers }, { containers: [{ image: "2" }] }), /declared merge key: name/);
  });
});
