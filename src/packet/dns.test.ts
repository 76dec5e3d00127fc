import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Answer, encode } from "dns-packet";
import fc from "fast-check";
import { hasEdns, queryFault, readAnswers, readQuestion } from "./dns.ts";

const NAME = "API.stripe.com";
const query = encode({ type: "query", id: 7, questions: [{ type: "A", name: NAME }] });

function answerOf(...answers: Answer[]): Buffer {
  return encode({ type: "response", id: 7, questions: [{ type: "A", name: NAME }], answers });
}

function read(message: Uint8Array) {
  const question = readQuestion(message);
  assert.ok(question);
  return readAnswers(message, question);
}

describe("readQuestion", () => {
  it("reads header and question, the name in lower case", () => {
    const { id, name, type, response, truncated, end } = readQuestion(query) ?? assert.fail();
    assert.deepEqual([id, name, type, response, truncated, end], [7, "api.stripe.com.", 1, false, false, query.length]);
  });

  it("tells an error and a truncation", () => {
    const refused = encode({ type: "response", id: 1, flags: 5 | 0x200, questions: [{ type: "A", name: NAME }] });
    const { rcode, truncated } = readQuestion(refused) ?? assert.fail();
    assert.deepEqual([rcode, truncated], [5, true]);
  });

  it("refuses what has no or several questions, a label or a name too long", () => {
    const two = encode({
      type: "query",
      questions: [
        { type: "A", name: "a" },
        { type: "A", name: "b" },
      ],
    });
    assert.equal(readQuestion(two), undefined);
    assert.equal(readQuestion(encode({ type: "query" })), undefined);
    assert.equal(readQuestion(encode({ type: "query", questions: [{ type: "A", name: "a", class: "CH" }] }))?.class, 3);
    const label = (size: number) => [size, ...new Array<number>(size).fill(97)];
    const message = (...name: number[]) => Uint8Array.of(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 0, 1, 0, 1);
    assert.ok(readQuestion(message(...label(63))));
    assert.equal(readQuestion(message(...label(64))), undefined);
    assert.ok(readQuestion(message(...label(63), ...label(63), ...label(63), ...label(61))), "255 bytes");
    assert.equal(readQuestion(message(...label(63), ...label(63), ...label(63), ...label(62))), undefined, "256 bytes");
  });

  it("tells what is wrong with a query, and says nothing of what is none", () => {
    const questions = [{ type: "A" as const, name: "a" }];
    const notify = encode({ type: "query", questions });
    notify.writeUInt16BE(4 << 11, 2);
    assert.equal(queryFault(notify), "opcode");
    assert.equal(queryFault(encode({ type: "query", questions: [...questions, ...questions] })), "questions");
    assert.equal(queryFault(encode({ type: "query", questions }).subarray(0, 14)), "name");
    assert.equal(queryFault(encode({ type: "response", questions })), undefined);
    assert.equal(queryFault(Buffer.alloc(11)), undefined);
  });

  it("escapes what is no name character: no dot or control character comes out of a label", () => {
    const message = Uint8Array.of(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 97, 46, 0, 0, 0, 1, 0, 1);
    assert.equal(readQuestion(message)?.name, "a\\046\\000.");
  });
});

describe("readAnswers", () => {
  it("knows the addresses of the name that was asked, by its aliases in any order", () => {
    const message = answerOf(
      { type: "A", name: "edge.stripe.com", data: "198.51.100.20", ttl: 30 },
      { type: "CNAME", name: NAME, data: "edge.stripe.com", ttl: 60 },
    );
    const { ips, own, cnames, rrtypes, ttl, whole } = read(message);
    assert.deepEqual([ips, own, cnames], [["198.51.100.20"], [{ ip: "198.51.100.20", ttl: 30 }], ["edge.stripe.com."]]);
    assert.deepEqual([rrtypes, ttl, whole], [["A", "CNAME"], 30, true]);
  });

  it("does not take another name's address for its own", () => {
    const { ips, own } = read(answerOf({ type: "A", name: "evil.test", data: "198.51.100.66" }));
    assert.deepEqual([ips, own], [["198.51.100.66"], []]);
  });

  it("takes nothing from records of another class", () => {
    const message = answerOf(
      { type: "A", name: NAME, data: "198.51.100.66", class: "CH" },
      { type: "CNAME", name: NAME, data: "edge.stripe.com", class: "HS" },
      { type: "A", name: "edge.stripe.com", data: "198.51.100.67" },
      { type: "A", name: NAME, data: "198.51.100.20", ttl: 30 },
    );
    const { own, cnames, whole } = read(message);
    assert.deepEqual([own, cnames, whole], [[{ ip: "198.51.100.20", ttl: 30 }], [], true]);
    const chaos = encode({
      ...{ type: "response", id: 7, questions: [{ type: "A", name: NAME, class: "CH" }] },
      answers: [{ type: "A", name: NAME, data: "198.51.100.20" }],
    });
    assert.deepEqual(read(chaos).own, []);
  });

  it("takes the hints of an HTTPS record that speaks for its owner", () => {
    const data = Uint8Array.of(0, 1, 0, 0, 1, 0, 3, 2, 104, 50, 0, 4, 0, 8, 198, 51, 100, 1, 198, 51, 100, 2);
    const head = encode({ type: "response", id: 7, flags: 0, questions: [{ type: "A", name: NAME }] });
    head.writeUInt16BE(1, 6);
    const record = Uint8Array.of(0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 9, 0, data.length, ...data);
    assert.deepEqual(read(Buffer.concat([head, record])).own, [
      { ip: "198.51.100.1", ttl: 9 },
      { ip: "198.51.100.2", ttl: 9 },
    ]);
  });

  it("leaves out what was cut off", () => {
    const message = answerOf({ type: "A", name: NAME, data: "198.51.100.20", ttl: 30 });
    const { ips, whole } = read(message.subarray(0, message.length - 3));
    assert.deepEqual([ips, whole], [[], false]);
  });

  it("takes a lifetime with the highest bit for none", () => {
    const message = answerOf({ type: "A", name: NAME, data: "198.51.100.20", ttl: 0x80000000 });
    assert.equal(read(message).ttl, 0);
  });

  it("never throws, and never runs for ever", () => {
    const loop = Uint8Array.of(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1);
    assert.equal(readQuestion(loop), undefined);
    const property = fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      for (const head of [[], [0, 1, 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 3, 1, 97, 0, 0, 1, 0, 1]]) {
        const message = Uint8Array.of(...head, ...bytes);
        const question = readQuestion(message);
        if (question === undefined) continue;
        readAnswers(message, question);
        hasEdns(message, question);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("hasEdns", () => {
  it("finds the OPT record", () => {
    const questions = [{ type: "A" as const, name: NAME }];
    const additionals = [{ type: "OPT" as const, name: "." as const, udpPayloadSize: 1232, flags: 0, options: [] }];
    const message = encode({ type: "query", questions, additionals: additionals as never });
    assert.equal(hasEdns(message, readQuestion(message) ?? assert.fail()), true);
    assert.equal(hasEdns(query, readQuestion(query) ?? assert.fail()), false);
  });
});
