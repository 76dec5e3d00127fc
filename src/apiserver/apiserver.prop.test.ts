import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc, { type Arbitrary } from "fast-check";
import { DEFINITIONS, toManifest } from "./crds/definitions.ts";
import { ApiError } from "./errors.ts";
import { startTestServer, type TestServer } from "./fixture.ts";
import { isObject, type JsonObject, type KubeObject } from "./object.ts";
import { builtinResources } from "./resources/builtin.ts";
import { customResources } from "./resources/custom.ts";
import { apiVersionOf, type Resource } from "./resources/resource.ts";
import type { Schema } from "./schema/schema.ts";

let server: TestServer;
before(async () => {
  server = await startTestServer();
  for (const definition of DEFINITIONS) server.api.client.create("customresourcedefinitions.apiextensions.k8s.io", toManifest(definition));
});
after(() => server[Symbol.asyncDispose]());

const WORDS = fc.constantFrom("", "a", "web", "TCP", "ClusterIP", "None", "10.96.0.9", "*", "default", "v1", "80", "-1", "x".repeat(300));

/** Values that fit the schema, and some that do not. */
function fitting({ resolve }: Resource, given: Schema, depth: number): Arbitrary<unknown> {
  const schema = resolve(given);
  const inner = (part: Schema): Arbitrary<unknown> => fitting({ resolve } as Resource, part, depth - 1);
  if (depth <= 0) return fc.constantFrom<unknown>(undefined, null, {}, [], "", 0);
  if (schema["x-kubernetes-int-or-string"]) return fc.oneof(WORDS, fc.integer({ min: -5, max: 70_000 }));
  if (schema.enum) return fc.constantFrom(...schema.enum, "Other");
  if (schema.type === "array") return fc.array(inner(schema.items ?? {}), { maxLength: 2 });
  if (schema.type === "integer") return fc.constantFrom(-1, 0, 1, 80, 30_000, 70_000);
  if (schema.type === "boolean") return fc.boolean();
  if (schema.type === "string") return WORDS;
  if (schema.properties && Object.keys(schema.properties).length > 0) {
    const names = Object.keys(schema.properties);
    const needed = schema.required ?? [];
    return fc
      .subarray(names, { maxLength: Math.min(6, names.length) })
      .chain((chosen) => fields(schema, [...new Set([...needed, ...chosen])], inner));
  }
  if (isObject(schema.additionalProperties))
    return fc.dictionary(fc.constantFrom("a", "b.c/d", "A b"), inner(schema.additionalProperties as Schema), { maxKeys: 2 });
  return fc.jsonValue({ maxDepth: 2 });
}

const fields = (schema: Schema, names: readonly string[], inner: (part: Schema) => Arbitrary<unknown>): Arbitrary<unknown> =>
  fc.record(Object.fromEntries(names.map((name) => [name, inner(schema.properties?.[name] ?? {})])));

/** The object, or the refusal of it; anything else that is thrown fails the test. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (thrown) {
    assert.ok(thrown instanceof ApiError && thrown.httpStatus < 500, thrown as Error);
    return undefined;
  }
}

const RESOURCES = [
  ...builtinResources(),
  ...DEFINITIONS.flatMap((definition) => customResources(toManifest(definition) as unknown as KubeObject)),
].filter(
  (resource) =>
    apiVersionOf(resource) === resource.storageApiVersion && resource.storage !== "customresourcedefinitions.apiextensions.k8s.io",
);

describe("whatever is sent", () => {
  for (const resource of RESOURCES) {
    it(`as ${resource.storage} is stored or refused, and what is stored may be applied, patched and deleted`, () => {
      const { client } = server.api;
      const { metadata: _metadata, ...properties } = resource.schema.properties ?? {};
      const content = fitting(resource, { ...resource.schema, properties }, 5) as Arbitrary<JsonObject>;
      fc.assert(
        fc.property(content, content, (one, two) => {
          const metadata = { name: "fuzzed", ...(resource.namespaced ? { namespace: "default" } : {}) };
          const head = { apiVersion: apiVersionOf(resource), kind: resource.kind };
          const created = attempt(() => client.create(resource.storage, { ...one, ...head, metadata }, { fieldValidation: "Ignore" }));
          if (!created) return;
          assert.equal(
            attempt(() => client.update(resource.storage, created))?.metadata.resourceVersion,
            created.metadata.resourceVersion,
            "a write of the same changes nothing",
          );
          attempt(() =>
            client.patch(
              resource.storage,
              "fuzzed",
              metadata.namespace,
              { ...two, metadata: { labels: { a: "b" } } },
              { fieldValidation: "Ignore" },
            ),
          );
          const apply = () =>
            client.apply(resource.storage, { ...two, ...head, metadata }, { fieldManager: "me", force: true, fieldValidation: "Ignore" });
          const applied = attempt(apply);
          if (applied)
            assert.equal(attempt(apply)?.metadata.resourceVersion, applied.metadata.resourceVersion, "applying again changes nothing");
          client.delete(resource.storage, "fuzzed", metadata.namespace, { gracePeriodSeconds: 0 });
        }),
        { numRuns: 10, seed: 1 },
      );
    });
  }
});
