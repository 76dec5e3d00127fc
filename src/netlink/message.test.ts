import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { prefixOf, writeChange } from "./encode.ts";
import { attributes, MessageWriter, NLM, readAnswers, textOf } from "./message.ts";

describe("MessageWriter", () => {
  it("writes messages one after the other, attributes padded and nested", () => {
    const writer = new MessageWriter(7);
    writer.begin(16, NLM.ACK, Buffer.alloc(16));
    writer.text(3, "lxc");
    writer.nest(18, () => writer.u32(1, 5));
    writer.begin(17, 0, Buffer.alloc(16));
    const [first, second] = [...readAnswers(writer.finish())];
    assert.ok(first?.kind === "data" && second?.kind === "data");
    assert.deepEqual([first.type, first.sequence, second.type, second.sequence], [16, 7, 17, 8]);
    const found = attributes(first.body, 16);
    assert.equal(textOf(found.get(3)), "lxc");
    assert.equal(
      attributes(found.get(18) ?? Buffer.alloc(0), 0)
        .get(1)
        ?.readUInt32LE(),
      5,
    );
  });

  it("grows", () => {
    const writer = new MessageWriter(1);
    for (let i = 0; i < 200; i++) writeChange(writer, { set: "route", to: `10.${i}.0.0/16`, index: 3 });
    assert.equal([...readAnswers(writer.finish())].length, 200);
  });
});

describe("readAnswers", () => {
  it("has the errno of a refusal and the kernel's words", () => {
    const text = Buffer.from("Nexthop has invalid gateway\0");
    const message = Buffer.alloc(16 + 4 + 16 + 4 + text.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(2, 4);
    message.writeUInt16LE(0x300, 6);
    message.writeInt32LE(-101, 16);
    message.writeUInt16LE(4 + text.length, 36);
    message.writeUInt16LE(1, 38);
    text.copy(message, 40);
    assert.deepEqual([...readAnswers(message)], [{ kind: "ack", sequence: 0, errno: 101, words: "Nexthop has invalid gateway" }]);
  });

  it("ends at a length that cannot be", () => {
    assert.deepEqual([...readAnswers(Buffer.alloc(64))], []);
  });
});

describe("prefixOf", () => {
  it("takes an address alone as itself, and refuses what is none", () => {
    assert.deepEqual([prefixOf("10.0.0.1").length, prefixOf("fd00::/64").length], [32, 64]);
    for (const bad of ["10.0.0.1/33", "10.0.0/24", "10.0.0.1/", "fe80::1%eth0", ""]) assert.throws(() => prefixOf(bad), TypeError);
  });
});
