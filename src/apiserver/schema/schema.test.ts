import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { conform } from "./conform.ts";
import { applyDefaults } from "./defaults.ts";
import { modelSchema, resolveModel } from "./models.ts";
import { resolveNothing, type Schema } from "./schema.ts";

const check = (schema: Schema, value: unknown) => conform(schema, value, { resolve: resolveNothing, dropNulls: false });
const messages = (schema: Schema, value: unknown) => {
  const { mistyped, causes, unknown } = check(schema, value);
  return [...mistyped, ...causes].map(({ field, message }) => `${field}: ${message}`).concat(unknown.map((path) => `unknown ${path}`));
};
const object = (properties: Record<string, Schema>, more: Partial<Schema> = {}): Schema => ({ type: "object", properties, ...more });

describe("schema of a custom resource", () => {
  const cases: readonly [title: string, schema: Schema, value: unknown, expected: readonly string[]][] = [
    ["takes what fits", object({ a: { type: "integer" } }), { a: 1 }, []],
    ["names unknown fields by their path", object({ a: object({}) }), { a: { b: 1 }, c: 2 }, ["unknown a.b", "unknown c"]],
    ["keeps unknown fields where told so", object({}, { "x-kubernetes-preserve-unknown-fields": true }), { a: { b: 1 } }, []],
    ["names wrong types", object({ a: { type: "integer" } }), { a: "1" }, ['a: Invalid value: "1": must be of type integer: "string"']],
    ["takes numbers and strings as int-or-string", object({ a: { "x-kubernetes-int-or-string": true } }), { a: "50%" }, []],
    ["wants required fields", object({ a: { type: "string" } }, { required: ["a"] }), {}, ["a: Required value"]],
    ["knows enumerations", { type: "string", enum: ["A", "B"] }, "C", [': Unsupported value: "C": supported values: "A", "B"']],
    ["knows patterns", { type: "string", pattern: "^a+$" }, "b", [': Invalid value: "b": must match the pattern ^a+$']],
    ["knows ranges", { type: "integer", minimum: 1, maximum: 3 }, 4, [": Invalid value: 4: should be less than or equal to 3"]],
    [
      "knows the number of items",
      { type: "array", items: { type: "integer" }, maxItems: 1 },
      [1, 2],
      [": Invalid value: 2: must have at most 1 items"],
    ],
    [
      "refuses null where it is not allowed",
      object({ a: { type: "string" } }),
      { a: null },
      ['a: Invalid value: null: must be of type string: "null"'],
    ],
    ["takes null where it is", object({ a: { type: "string", nullable: true } }), { a: null }, []],
    [
      "knows duplicate keys",
      { type: "array", items: object({ k: { type: "string" } }), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"] },
      [{ k: "a" }, { k: "a" }],
      ['[1]: Duplicate value: {"k":"a"}'],
    ],
    [
      "leaves them to the checks of Kubernetes' own types, where a container may declare a port twice",
      {
        type: "array",
        items: object({ k: { type: "string" } }),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "x-kubernetes-patch-merge-key": "k",
      },
      [{ k: "a" }, { k: "a" }],
      [],
    ],
    [
      "knows anyOf",
      object({ a: { type: "string" }, b: { type: "string" } }, { anyOf: [{ required: ["a"] }, { required: ["b"] }] }),
      {},
      ["a: Required value: give a or b"],
    ],
  ];
  for (const [title, schema, value, expected] of cases) it(title, () => assert.deepEqual(messages(schema, value), expected));

  it("prunes without touching the original", () => {
    const value = { a: 1, b: { c: 2 } };
    const { value: pruned } = check(object({ a: { type: "integer" }, b: object({}) }), value);
    assert.deepEqual(pruned, { a: 1, b: {} });
    assert.deepEqual(value, { a: 1, b: { c: 2 } });
  });

  it("sets defaults, also in lists, and copies them", () => {
    const schema = object({
      l: { type: "array", items: object({ p: { type: "string", default: "TCP" } }) },
      o: { type: "object", default: {}, properties: {} },
    });
    const one: Record<string, unknown> = { l: [{}, { p: "UDP" }] };
    applyDefaults(schema, one);
    assert.deepEqual(one, { l: [{ p: "TCP" }, { p: "UDP" }], o: {} });
    assert.notEqual(one.o, schema.properties?.o?.default);
  });

  it("never lets a value into the prototype", () => {
    const { value } = check(
      { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      JSON.parse('{"__proto__": {"polluted": true}}'),
    );
    assert.equal((value as { polluted?: boolean }).polluted, undefined);
  });
});

describe("schemas of built-in kinds", () => {
  it("are read with fields, references, requirements and merge keys", () => {
    const pod = modelSchema("core/v1.PodSpec");
    assert.deepEqual(pod.required, ["containers"]);
    const containers = pod.properties?.containers;
    assert.equal(containers?.["x-kubernetes-patch-merge-key"], "name");
    assert.equal(resolveModel(containers?.items ?? {}).properties?.image?.type, "string");
  });
  it("take quantities as numbers and store them as text", () => {
    const { value } = conform(
      modelSchema("core/v1.ResourceRequirements"),
      { limits: { cpu: 1 } },
      { resolve: resolveModel, dropNulls: true },
    );
    assert.deepEqual(value, { limits: { cpu: "1" } });
  });
  it("read null as not given", () => {
    const { value } = conform(modelSchema("core/v1.ConfigMap"), { data: null }, { resolve: resolveModel, dropNulls: true });
    assert.deepEqual(value, {});
  });
});
