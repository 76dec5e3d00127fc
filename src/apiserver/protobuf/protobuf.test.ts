import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { decodeProtobuf } from "./decode.ts";
import { bytesField, message, readFields, stringField, varintField } from "./wire.ts";

const envelope = (apiVersion: string, kind: string, object: Buffer): Buffer =>
  message(
    Buffer.from("k8s\0"),
    bytesField(1, message(stringField(1, apiVersion), stringField(2, kind))),
    bytesField(2, object),
    stringField(3, ""),
  );

const meta = (name: string): Buffer => message(stringField(1, name), stringField(3, ""), bytesField(8, message()));

describe("protobuf bodies", () => {
  it("become the JSON that says the same: maps, bytes, empty fields left out", () => {
    const entry = message(stringField(1, "key"), bytesField(2, Buffer.from("value")));
    const secret = envelope("v1", "Secret", message(bytesField(1, meta("s")), bytesField(2, entry), stringField(3, "Opaque")));
    assert.deepEqual(decodeProtobuf(secret), {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s" },
      data: { key: "dmFsdWU=" },
      type: "Opaque",
    });
  });

  it("keep a zero that was meant, and put embedded structs where JSON has them", () => {
    const source = message(bytesField(2, message(stringField(1, ""))));
    const volume = message(stringField(1, "v"), bytesField(2, source));
    const template = message(bytesField(2, message(bytesField(1, volume))));
    const deployment = envelope(
      "apps/v1",
      "Deployment",
      message(bytesField(2, message(varintField(1, 0), varintField(5, 0), bytesField(3, template)))),
    );
    assert.deepEqual(decodeProtobuf(deployment), {
      apiVersion: "apps/v1",
      kind: "Deployment",
      spec: { replicas: 0, template: { spec: { volumes: [{ name: "v", emptyDir: {} }] } } },
    });
  });

  it("read int-or-string, quantities and times", () => {
    const port = message(
      stringField(2, "TCP"),
      varintField(3, 80),
      bytesField(4, message(varintField(1, 1), varintField(2, 0), stringField(3, "web"))),
    );
    const time = message(varintField(1, 1_767_225_600));
    const object = message(bytesField(1, message(stringField(1, "s"), bytesField(8, time))), bytesField(2, message(bytesField(1, port))));
    assert.deepEqual(decodeProtobuf(envelope("v1", "Service", object)), {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "s", creationTimestamp: "2026-01-01T00:00:00Z" },
      spec: { ports: [{ protocol: "TCP", port: 80, targetPort: "web" }] },
    });
  });

  it("find the kinds of the meta group, such as deletion options", () => {
    assert.deepEqual(decodeProtobuf(envelope("v1", "DeleteOptions", varintField(1, 0))), {
      apiVersion: "v1",
      kind: "DeleteOptions",
      gracePeriodSeconds: 0,
    });
  });

  it("are refused with 400 when they are none, of an unknown kind, or cut", () => {
    const secret = envelope("v1", "Secret", message(bytesField(1, meta("s"))));
    for (const [body, text] of [
      [Buffer.from("{}"), /does not begin/],
      [envelope("v1", "Nonsense", message()), /is not known; send JSON/],
      [secret.subarray(0, secret.length - 4), /ends in the middle/],
    ] as const) {
      assert.throws(() => decodeProtobuf(body), text);
    }
  });

  it("never fail in another way, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeProtobuf(envelope("v1", "Pod", Buffer.from(bytes)));
        } catch (thrown) {
          assert.equal((thrown as Error).name, "ApiError");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("are read field by field", () => {
    assert.deepEqual(
      [...readFields(message(varintField(1, 300), stringField(2, "a")))],
      [
        { number: 1, value: 300n },
        { number: 2, value: Buffer.from("a") },
      ],
    );
  });
});
