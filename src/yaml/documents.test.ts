import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { readDocuments } from "./documents.ts";

const values = (text: string) => readDocuments(text).map(({ value }) => value);
const problems = (text: string) =>
  readDocuments(text).flatMap((one) => one.problems.map(({ message, place }) => `${place.line}:${place.column} ${message}`));
const word = (text: string) => (values(`v: ${text}\n`)[0] as { readonly v: unknown }).v;

describe("readDocuments", () => {
  // What kubectl 1.34 makes of each: kubectl label --local -f FILE x- -o json.
  const words: readonly (readonly [unknown, string])[] = [
    [true, "y yes on true Y Yes On True YES ON TRUE"],
    [false, "n no off false N No Off False NO OFF FALSE"],
    [null, "~ null Null NULL"],
    [80, "0120 0o120 0x50 0X50 0b1010000 80 8_0 80. 8e1 +80 080 0_80"],
    [8080, "8_080 8080_ 8080.0"],
    [0, "0 00 -0 +0 0."],
    [-9, "-011 -0x9 -9"],
    [0.5, ".5 0.5 +.5 .5_0 5e-1"],
  ];
  for (const [value, texts] of words)
    it(`takes ${texts} for ${value}`, () => {
      for (const text of texts.split(" ")) assert.equal(word(text), value, text);
    });

  it("takes for texts what is none of these, what stands in quotes, and what has a tag that nobody knows", () => {
    for (const text of [
      "yEs",
      "oN",
      "nULL",
      "1:30",
      "2001-12-14",
      "10.0.0.0/8",
      "0x",
      "0o8",
      "_1",
      "1e",
      "1e400",
      ".",
      "-x",
      "=",
      "80/TCP",
    ])
      assert.equal(word(text), text);
    for (const [text, value] of [
      ['"yes"', "yes"],
      ["'0120'", "0120"],
      ["|\n  on", "on\n"],
      ["!foo 3", "3"],
      ["!!str 12", "12"],
      ["!!binary aGk=", "hi"],
    ])
      assert.equal(word(text ?? ""), value, text);
    assert.deepEqual(word('!!int "0x10"'), 16);
    assert.match(problems("v: .inf\n").join(), /^1:4 JSON has no such number/);
    assert.match(problems("v: !!int x\n").join(), /^1:4 "x" is not a number/);
  });

  it("makes texts of keys, and refuses one that is there twice with its line", () => {
    assert.deepEqual(values("on: 1\n0x10: 2\n1.5: 3\n__proto__: 4\n"), [JSON.parse('{"true":1,"16":2,"1.5":3,"__proto__":4}')]);
    assert.match(problems("a: 1\nb:\n  c: 1\n  'c': 2\n").join(), /^4:3 the key "c" is there twice/);
    assert.match(problems("16: 1\n0x10: 2\n").join(), /^2:1 the key "16" is there twice/);
    assert.match(problems('{"a": {"b": 1,\n "b": 2}}').join(), /^2:2 the key "b" is there twice/);
    assert.deepEqual(problems('{"a": [{"b": 1}, {"b": 2}], "b": "b"}'), []);
    assert.match(problems("~: 1\n").join(), /a key has to be a text/);
  });

  it("puts an anchor's value and merged objects in their place: what comes later wins, and of several the first", () => {
    const [value] = values("x: &x {a: 1, b: 2}\nk: {<<: *x, b: 3}\nl: {b: 3, <<: *x}\nm: {<<: [*x, {a: 9, c: 4}]}\ne: *x\n");
    const x = { a: 1, b: 2 };
    assert.deepEqual(value, { x, k: { a: 1, b: 3 }, l: { a: 1, b: 2 }, m: { a: 1, b: 2, c: 4 }, e: x });
    assert.deepEqual(values('a: &k 1\nb: *k\nc: &k 2\nd: *k\n"<<": 3\n'), [{ a: 1, b: 1, c: 2, d: 2, "<<": 3 }]);
    assert.match(problems("a: {<<: 3}\n").join(), /^1:9 << takes an object/);
    assert.match(problems("a: *b\n").join(), /^1:4 the alias \*b stands for nothing/);
    assert.match(problems("a: &z 1\n---\nb: *z\n").join(), /^3:4 the alias/);
  });

  it("finds lines through aliases, merged objects, carriage returns and byte order marks", () => {
    const text = "x: &x\n  cidr: 10.0.0.1\nspec:\n  one: *x\n  two:\n    <<: *x\n    other: 3\n";
    for (const [path, line] of [
      ["spec.one.cidr", 2],
      ["spec.two.cidr", 2],
      ["spec.two.other", 7],
      ["spec.two.none", 6],
    ] as const)
      for (const variant of [text, text.replaceAll("\n", "\r\n"), `\uFEFF${text}`, text.replaceAll("\n", "\r")])
        assert.equal(readDocuments(variant)[0]?.locate(path)?.line, line, path);
    assert.deepEqual(readDocuments("a: 1\n---\n\uFEFFb:\n  c: 2\n")[1]?.locate("b.c"), { line: 4, column: 6 });
  });

  it("divides a text as kubectl does", () => {
    assert.deepEqual(values("---\n\n--- # one\na: 1\n---\t\n# nothing\n---\nb: 2\n...\n---\n{c: 3}\n"), [{ a: 1 }, { b: 2 }, { c: 3 }]);
    assert.deepEqual(values('{"a": "}\\""}\n{"b": 2}{"c": [1]}\n---\nd: 4\n'), [{ a: '}"' }, { b: 2 }, { c: [1] }, { d: 4 }]);
    assert.deepEqual(values('{"a": 1, # a comment\n"b": 2,}'), [{ a: 1, b: 2 }], "what is no JSON may be YAML");
    assert.deepEqual(readDocuments('{"a": 1}\n{"b": {\n"c": 2}}')[1]?.locate("b.c"), { line: 3, column: 6 });
    assert.match(problems("a: 1\n--- b: 2\n").join(), /^2:13|^2:\d+ kubectl reads nothing but a comment/);
    assert.match(problems("a: 1\n...\nb: 2\n").join(), /^2:1 kubectl reads nothing of what follows/);
  });

  it("refuses with the line what the YAML of kubectl does not have: tabs in indentation, a slash behind a backslash, control characters", () => {
    for (const [text, at] of [
      ["a:\n\tb: 1\n", "2:1"],
      ["a: 1\n\t\nb: 2\n", "2:1"],
      ["a:\n- b\n-\tc\n", "3:2"],
    ] as const)
      assert.match(problems(text).join("\n"), new RegExp(`^${at} .*$`), JSON.stringify(text));
    assert.deepEqual(problems('a:\t1\nb: "x\n \ty"\nc: |\n  -\tz\n  \t\nd: {\n  e:\t1}\t# f\n'), []);
    assert.match(problems('a: "\\\\/ \\/"\n').join(), /^1:9 in double quotes/);
    assert.deepEqual(problems("a: '\\/'\nb: \\/\n"), []);
    assert.match(problems("a: 1\nb: x\u0001\n").join(), /^2:5 a control character, U\+0001/);
  });

  it("refuses with one error, and where, what is too deep for a stack, and reads all that is not", () => {
    const many = 20_000;
    const block = (levels: number) => Array.from({ length: levels }, (_, i) => `${" ".repeat(i)}a:\n`).join("");
    for (const [text, at] of [
      ["[".repeat(many), "1:20"],
      [`{"a":${"[".repeat(many)}${"]".repeat(many)}}`, "1:20"],
      [`{"a": 1}\n${'{"a":'.repeat(many)}1${"}".repeat(many)}`, "2:1001"],
      ["- ".repeat(many), "1:40"],
      [block(300), "20"],
    ] as const) {
      const [only, ...others] = problems(text);
      assert.match(only ?? "", new RegExp(`^${at}[\\d:]* more than 200 objects and lists stand in one another$`));
      assert.deepEqual(others, []);
    }
    for (const text of [`${"[".repeat(200)}${"]".repeat(200)}`, `${'{"a":'.repeat(200)}1${"}".repeat(200)}`, block(200)])
      assert.deepEqual(problems(text), []);
  });

  it("never throws, whatever the text, and tells a line that is there", (test) => {
    const piece = fc.constantFrom(
      "a",
      "&a ",
      "*a",
      "<<: *a",
      "{",
      "}",
      "[",
      "]",
      ": ",
      "- ",
      "\n",
      "\n  ",
      "\t",
      "'",
      '"',
      "|\n",
      "!!int ",
      "---\n",
      "...\n",
      "1",
      "y",
      "\\",
      "\r\n",
      ",",
      "#",
      "\uFEFF",
    );
    let [runs, refused] = [0, 0];
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece, { maxLength: 24 }).map((parts) => parts.join("")),
          fc.string(),
          fc.json(),
        ),
        (text) => {
          runs++;
          const lines = text.split(/\r\n|\n|\r/).length;
          for (const document of readDocuments(text)) {
            document.locate("a[0].b");
            refused += document.problems.length > 0 ? 1 : 0;
            for (const { place } of document.problems) assert.ok(place.line >= 1 && place.line <= lines, `line ${place.line} of ${lines}`);
            if (document.problems.length === 0) assert.deepEqual(JSON.parse(JSON.stringify(document.value)), document.value);
          }
        },
      ),
      { numRuns: 1000 },
    );
    test.diagnostic(`${runs} texts, ${refused} documents refused, none crashed`);
  });
});
