import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { RE2JS } from "re2js";
import { plainRegExp } from "./plain-pattern.ts";

const atom = fc.constantFrom(
  "a",
  "b",
  "/",
  "-",
  ".",
  "\\.",
  "[ab]",
  "[^/]",
  "[a-c]",
  "[^a-b]",
  "[b-a]",
  "\\-",
  "(a)",
  "a|b",
  "{2}",
  "é",
  "^",
  "\\d",
);
const pattern = fc
  .array(fc.tuple(atom, fc.constantFrom("", "", "", "*", "+", "?", "??")), { maxLength: 6 })
  .map((parts) => parts.flat().join(""));
const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "/", "-", ".", "\n", "\r", "é", "😀", "\u2028"), maxLength: 8 });

describe("plain expressions", () => {
  it("mean what RE2 reads in them", () => {
    let plain = 0;
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 20 }), (given, texts) => {
        const ours = plainRegExp(given);
        if (ours === undefined) return;
        plain++;
        const theirs = RE2JS.compile(given);
        for (const one of texts) assert.equal(ours.test(one), theirs.testExact(one), `${given} on ${JSON.stringify(one)}`);
      }),
      { numRuns: 2000 },
    );
    assert.ok(plain > 100);
  });

  for (const given of ["/public/v[0-9]+/.*", "/a/[a-z]+", "/x\\.html", "/[^/]+/status", ".*/end"]) {
    it(`takes ${given}`, () => assert.ok(plainRegExp(given)));
  }

  for (const given of [
    "(a+)+",
    "a|b",
    ".*.*x",
    ".*a.*",
    "[a-z]+[a-z]+",
    "a*b?a*",
    "a?a",
    "(?i)a",
    "\\d+",
    "[[:alpha:]]",
    "a{2}",
    "^a$",
    "[b-a]",
    "a**",
  ]) {
    it(`leaves ${given} to RE2`, () => assert.equal(plainRegExp(given), undefined));
  }
});
