import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescField, type DescMessage, fromBinary, type Message, ScalarType, toBinary } from "@bufbuild/protobuf";
import { isWrapperDesc, TimestampSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { AgentEventSchema } from "#api/gen/flow/events_pb.ts";
import { type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { GetFlowsResponseSchema } from "#api/gen/observer/observer_pb.ts";
import { createEncoder, share } from "./encoder.ts";

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 100 }),
  fc.string({ minLength: 60, maxLength: 70 }),
);
const SCALARS: Readonly<Partial<Record<ScalarType, fc.Arbitrary<unknown>>>> = {
  [ScalarType.STRING]: text,
  [ScalarType.BYTES]: fc.uint8Array({ maxLength: 300 }),
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.UINT32]: fc.oneof(fc.nat(300), fc.nat(0xffff_ffff)),
  [ScalarType.INT32]: fc.oneof(fc.integer({ min: -5, max: 300 }), fc.integer()),
  [ScalarType.UINT64]: fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n - 1n)),
  [ScalarType.INT64]: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
};

/** Any message of a type: each field is there or not. */
function messages(schema: DescMessage): fc.Arbitrary<Message> {
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of schema.fields) if (field.oneof === undefined) fields[field.localName] = fieldValues(field);
  for (const { localName, fields: choices } of schema.oneofs) {
    fields[localName] = fc.oneof(
      fc.constant({ case: undefined }),
      ...choices.map((choice) => values(choice).map((value) => ({ case: choice.localName, value }))),
    );
  }
  return fc.record(fields, { requiredKeys: [] }).map((init) => create(schema, init));
}

function fieldValues(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === "list") return fc.array(values(field), { maxLength: 3 });
  return field.fieldKind === "message" ? fc.option(values(field), { nil: undefined }) : values(field);
}

function values(field: DescField): fc.Arbitrary<unknown> {
  if (field.message !== undefined) {
    const unwrapped = field.fieldKind === "message" && field.oneof === undefined && isWrapperDesc(field.message);
    return unwrapped ? (SCALARS[field.message.fields[0]?.scalar ?? ScalarType.BOOL] ?? fc.constant(0)) : messages(field.message);
  }
  if (field.enum !== undefined) return fc.constantFrom(...field.enum.values.map(({ number }) => number), 99, -1);
  return SCALARS[field.scalar ?? ScalarType.BOOL] ?? fc.constant(0);
}

describe("our encoder", () => {
  for (const schema of [GetFlowsResponseSchema, FlowSchema, AgentEventSchema, TimestampSchema]) {
    it(`writes any ${schema.typeName} as protobuf-es does`, () => {
      const encoder = createEncoder<Message>(schema);
      fc.assert(
        fc.property(messages(schema), (message) => {
          const expected = Buffer.from(toBinary(schema as DescMessage, message)).toString("hex");
          assert.equal(encoder.encode(message).toString("hex"), expected);
        }),
        { numRuns: schema === TimestampSchema ? 500 : 150 },
      );
    });
  }

  it("keeps fields that this version does not know", () => {
    const unknown = Uint8Array.of(0xf8, 0xff, 0x07, 5);
    const flow = fromBinary(FlowSchema, unknown);
    assert.deepEqual([...createEncoder<Flow>(FlowSchema).encode(flow)], [...toBinary(FlowSchema, flow)]);
  });

  it("writes a shared message the same each time, in whatever it is part of", () => {
    const encoder = createEncoder<Flow>(FlowSchema);
    const endpoint = share(
      create(FlowSchema, { source: { podName: "é".repeat(200), labels: ["a=b"], workloads: [{ name: "w" }] } }).source ?? assert.fail(),
    );
    for (const flow of [
      create(FlowSchema, { source: endpoint }),
      create(FlowSchema, { source: endpoint, destination: endpoint, uuid: "u" }),
    ])
      for (const _ of [1, 2]) assert.deepEqual(encoder.encode(flow), Buffer.from(toBinary(FlowSchema, flow)));
  });

  it("writes what is longer than its buffer", () => {
    const flow = create(FlowSchema, { nodeLabels: Array.from({ length: 5000 }, (_, i) => `label-${i}=${"x".repeat(i % 90)}`) });
    assert.deepEqual(createEncoder<Flow>(FlowSchema).encode(flow), Buffer.from(toBinary(FlowSchema, flow)));
  });
});
