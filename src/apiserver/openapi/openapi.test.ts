import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { DEFINITIONS, toManifest } from "../crds/definitions.ts";
import type { KubeObject } from "../object.ts";
import { readFields } from "../protobuf/wire.ts";
import { createRegistry } from "../resources/registry.ts";
import { createDocuments } from "./documents.ts";
import { encodeOpenApiV2 } from "./v2-protobuf.ts";

const registry = createRegistry();
for (const definition of DEFINITIONS) registry.define(toManifest(definition) as unknown as KubeObject);
const documents = createDocuments(registry);

function missingReferences(text: string, known: object, prefix: string): string[] {
  return [...text.matchAll(/"\$ref":"([^"]+)"/g)]
    .map(([, reference = ""]) => reference)
    .filter((reference) => !(reference.slice(prefix.length) in known));
}

describe("OpenAPI", () => {
  const { paths } = documents.index() as { paths: Record<string, unknown> };
  for (const path of Object.keys(paths)) {
    it(`of ${path} refers to nothing that it does not have`, () => {
      const text = documents.groupVersion(path) ?? "";
      const { components } = JSON.parse(text) as { components: { schemas: object } };
      assert.deepEqual(missingReferences(text, components.schemas, "#/components/schemas/"), []);
      assert.ok(Object.keys(components.schemas).length > 2);
    });
  }
  it("v2 refers to nothing that it does not have", () => {
    const text = JSON.stringify(documents.v2());
    const { definitions } = JSON.parse(text) as { definitions: object };
    assert.deepEqual(missingReferences(text, definitions, "#/definitions/"), []);
  });
  it("v2 is written in protobuf with every definition", () => {
    const document = documents.v2() as { definitions: Record<string, Record<string, unknown>> };
    const fields = [...readFields(encodeOpenApiV2(document))];
    const definitions = fields.find(({ number }) => number === 9)?.value as Buffer;
    assert.equal([...readFields(definitions)].length, Object.keys(document.definitions).length);
  });
  it("changes its address when a custom resource changes, and only then", () => {
    const before = documents.index() as { paths: Record<string, unknown> };
    const [first] = DEFINITIONS;
    assert.ok(first);
    registry.define(toManifest(first) as unknown as KubeObject);
    assert.deepEqual(documents.index(), before);
    registry.define(
      toManifest({ ...first, schema: { type: "object", properties: { spec: { type: "object" } } } }) as unknown as KubeObject,
    );
    const after = documents.index() as { paths: Record<string, unknown> };
    const changed = Object.keys(after.paths).filter((path) => JSON.stringify(after.paths[path]) !== JSON.stringify(before.paths[path]));
    assert.deepEqual(changed, ["apis/cilium.io/v2"]);
  });
});

describe("api/crds", () => {
  for (const definition of DEFINITIONS) {
    it(`${definition.plural}.yaml is what the declarations say (else: node src/apiserver/crds/generate.ts)`, () => {
      const file = readFileSync(join(import.meta.dirname, "../../../api/crds", `${definition.plural}.yaml`), "utf8");
      assert.deepEqual(parse(file), JSON.parse(JSON.stringify(toManifest(definition))));
    });
  }
});
