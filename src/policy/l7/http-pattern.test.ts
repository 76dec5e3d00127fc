import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { matchesWhole } from "./http.ts";
import { covers, patternOf, shapesOf, without } from "./http-pattern.ts";

describe("shapesOf", () => {
  const cases: readonly (readonly [pattern: string | undefined, canonical: string | undefined])[] = [
    [undefined, undefined],
    [".*", undefined],
    ["GET|POST", "GET|POST"],
    ["(GET|POST)", "GET|POST"],
    ["(?:GET|POST)", "GET|POST"],
    ["^/x$", "/x"],
    ["/v1\\.0", "/v1\\.0"],
    ["/a\\-b", "/a-b"],
    ["/a(b|c)", "/a(b|c)"],
    ["(?i)get", "(?i)get"],
    ["[a|b]x|c", "[a|b]x|c"],
  ];
  for (const [pattern, canonical] of cases) it(`reads ${pattern}`, () => assert.equal(patternOf(shapesOf(pattern)), canonical));
});

describe("covers", () => {
  const cases: readonly (readonly [a: string, b: string, covered: boolean])[] = [
    [".*", "/x[0-9]+", true],
    ["/v1/.*", "/v1/users", true],
    ["/v1/.*", "/v1/.*", true],
    ["/v1/.*", "/v1/[0-9]+", true],
    ["/v1/.*", "/v1/?", false],
    ["/v1/.*", "/v(1/a|2)", false],
    ["/[a-z]+", "/abc", true],
    ["/[a-z]+", "/[a-z]*", false],
    ["/v1", "/v1/.*", false],
  ];
  for (const [a, b, covered] of cases) {
    it(`${a} ${covered ? "covers" : "does not cover"} ${b}`, () => {
      const [[one], [other]] = [shapesOf(a), shapesOf(b)];
      assert.equal(one && other && covers(one, other), covered);
    });
  }
});

describe("without", () => {
  it("matches what the shape matches, and not the text (100 texts a run)", () => {
    const letters = fc.string({ unit: fc.constantFrom(..."/ab.-]^\\?"), maxLength: 6 });
    fc.assert(
      fc.property(
        fc.constantFrom(".*", "/.*", "/a.*", "a|b|/a"),
        letters,
        fc.array(letters, { maxLength: 20 }),
        (pattern, text, others) => {
          const left = shapesOf(pattern).flatMap((shape) => without(shape, text) ?? []);
          for (const other of [text, `${text}a`, text.slice(0, -1), ...others]) {
            const matched = left.some((shape) => matchesWhole(patternOf([shape]) ?? ".*", other));
            assert.equal(matched, other !== text && matchesWhole(pattern, other), `${JSON.stringify(patternOf(left))} ${other}`);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
  it("knows no rest of a pattern that it cannot read", () => assert.equal(without({ kind: "other", pattern: "/[0-9]+" }, "/7"), undefined));
});
