import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { HpackDecoder } from "./hpack-decoder.ts";
import { encodeFields, encodeTableSize } from "./hpack-encoder.ts";
import { type HpackField, hpackField, STATIC_TABLE } from "./hpack-table.ts";

const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");
const open = (limit = 1e6) => new HpackDecoder({ bytes: limit, count: 100 }, (list) => list);
const texts = (fields: readonly HpackField[]) => fields.map(({ name, value }) => `${name}: ${value}`);
const decode = (decoder: ReturnType<typeof open>, block: Buffer) => {
  const list = decoder.decode(block, 0, block.length);
  return list && texts(list.fields);
};

const FIRST = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const THIRD = [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"];
const DATE = (second: number) => `date: Mon, 21 Oct 2013 20:13:${second} GMT`;
const REDIRECT = (code: number) => [`:status: ${code}`, "cache-control: private", DATE(21), "location: https://www.example.com"];
const COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const OK = [":status: 200", "cache-control: private", DATE(22), "location: https://www.example.com", "content-encoding: gzip", COOKIE];

/** RFC 7541 Appendix C: blocks of one direction, one after the other. */
const EXAMPLES: Readonly<Record<string, readonly (readonly [string, readonly string[]])[]>> = {
  "C.2.1": [["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", ["custom-key: custom-header"]]],
  "C.2.2": [["040c 2f73 616d 706c 652f 7061 7468", [":path: /sample/path"]]],
  "C.2.3": [["1008 7061 7373 776f 7264 0673 6563 7265 74", ["password: secret"]]],
  "C.2.4": [["82", [":method: GET"]]],
  "C.3": [
    ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST],
    ["8286 84be 5808 6e6f 2d63 6163 6865", [...FIRST, "cache-control: no-cache"]],
    ["8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD],
  ],
  "C.4": [
    ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST],
    ["8286 84be 5886 a8eb 1064 9cbf", [...FIRST, "cache-control: no-cache"]],
    ["8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD],
  ],
  "C.5": [
    [
      "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 " +
        "3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      REDIRECT(302),
    ],
    ["4803 3330 37c1 c0bf", REDIRECT(307)],
    [
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 " +
        "514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      OK,
    ],
  ],
  "C.6": [
    [
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      REDIRECT(302),
    ],
    ["4883 640e ffc1 c0bf", REDIRECT(307)],
    [
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af " +
        "2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      OK,
    ],
  ],
};

describe("HPACK", () => {
  for (const [name, blocks] of Object.entries(EXAMPLES)) {
    it(`reads the examples of RFC 7541 ${name}`, () => {
      const decoder = open();
      // Those of answers are with a table of 256 bytes.
      if (/C\.[56]/.test(name)) assert.deepEqual(decode(decoder, encodeTableSize(256)), []);
      for (const [block, wanted] of blocks) assert.deepEqual(decode(decoder, bytes(block)), wanted);
    });
  }

  it("knows a block again, until the table has changed", () => {
    const decoder = open();
    const [learn, repeat] = [bytes("400161 0131"), bytes("be")];
    decode(decoder, learn);
    const first = decoder.decode(repeat, 0, 1);
    assert.equal(decoder.decode(repeat, 0, 1), first);
    decode(decoder, bytes("400161 0132"));
    assert.deepEqual(decode(decoder, repeat), ["a: 2"]);
  });

  it("keeps what no table may learn as it is", () => {
    const field = hpackField("authorization", "secret", true);
    const block = encodeFields([field]);
    assert.equal((block[0] ?? 0) & 0xf0, 0x10);
    assert.deepEqual(open().decode(block, 0, block.length)?.fields, [field]);
  });

  for (const [name, block] of [
    ["index 0", "80"],
    ["an index beyond both tables", "be"],
    ["a name beyond both tables", "7f00 0161"],
    ["a number that is cut off", "ff"],
    ["a number without end", "ffff ffff ffff ffff ff01"],
    ["a text that is cut off", "400561"],
    ["a field without a value", "400161"],
    ["a table bigger than allowed", "3fe2 1f"],
    ["a size of the table behind a field", "8220"],
    ["Huffman: the end of a text inside", "4084 ffff fffc 0161"],
    ["Huffman: eight bits of padding", "4083 1fff ff01 61"],
    ["Huffman: padding with zeros", "4081 00"],
  ] as const) {
    it(`refuses ${name}`, () => assert.equal(decode(open(), bytes(block)), undefined));
  }

  it("begins with a smaller table when that was asked for, and only then", () => {
    const decoder = open();
    decoder.allow(100);
    assert.equal(decode(decoder, bytes("82")), undefined);
    assert.deepEqual(decode(decoder, Buffer.concat([encodeTableSize(100), bytes("82")])), [":method: GET"]);
    decoder.allow(4096);
    assert.deepEqual(decode(decoder, bytes("82")), [":method: GET"]);
    for (const size of [50, 4096]) decoder.allow(size);
    assert.deepEqual([decoder.shrinkTo, decode(decoder, bytes("82"))], [50, undefined]);
  });

  it("reads lists beyond the limit without keeping them, and stays in step", () => {
    const decoder = open(5000);
    const value = "v".repeat(3000);
    const learn = Buffer.concat([bytes("400161"), lengthOf(value.length), Buffer.from(value)]);
    decode(decoder, learn);
    const bomb = decoder.decode(Buffer.alloc(300, 0xbe), 0, 300);
    assert.deepEqual([bomb?.tooLong, bomb?.fields.length], [true, 1]);
    assert.deepEqual(decode(decoder, bytes("be")), [`a: ${value}`]);
  });

  it("does not read lists of which a few bytes make megabytes", () => {
    const decoder = open(5000);
    decode(decoder, Buffer.concat([bytes("400161"), lengthOf(3000), Buffer.alloc(3000, "v")]));
    assert.equal(decoder.decode(Buffer.alloc(10_000, 0xbe), 0, 10_000), undefined);
  });

  it("reads what it has written, whatever that is", () => {
    const text = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 300 });
    const known = fc.constantFrom(...STATIC_TABLE.map(({ name, value }) => hpackField(name, value)));
    const any = fc
      .record({ name: text, value: text, neverIndexed: fc.boolean() })
      .map((one) => hpackField(one.name, one.value, one.neverIndexed));
    fc.assert(
      fc.property(fc.array(fc.oneof(known, any), { maxLength: 20 }), (fields) => {
        const block = encodeFields(fields);
        assert.deepEqual(open().decode(block, 0, block.length)?.fields, fields);
      }),
    );
  });

  it("never fails otherwise than by saying so", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = open(200);
        for (const block of blocks) decoder.decode(Buffer.from(block), 0, block.length);
      }),
    );
  });
});

/** The length of a text that is not coded. */
function lengthOf(length: number): Buffer {
  const rest = length - 127;
  return Buffer.from([127, 128 | (rest & 127), rest >> 7]);
}
