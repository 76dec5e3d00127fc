import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fqdnLabelKey, fqdnMatcher, normalizeName, validateFqdn } from "./pattern.ts";

describe("fqdnMatcher", () => {
  const cases: [string, string[], string[]][] = [
    ["*.example.com", ["www.example.com."], ["example.com.", "a.b.example.com."]],
    ["**.example.com", ["www.example.com.", "a.b.example.com."], ["example.com."]],
    ["***.example.com", ["www.example.com.", "a.b.example.com."], ["example.com."]],
    ["*", ["com.", "a.b.", "."], ["a..b."]],
    ["sub*.example.com", ["sub.example.com.", "subx.example.com."], ["xsub.example.com."]],
    ["www.**.com", ["www.a.com."], ["www.a.b.com."]],
  ];
  for (const [matchPattern, matching, failing] of cases) {
    it(`${matchPattern}`, () => {
      const matches = fqdnMatcher({ matchPattern });
      for (const name of matching) assert.ok(matches(name), name);
      for (const name of failing) assert.ok(!matches(name), name);
    });
  }

  it("takes a name without its final dot and in capitals", () => {
    assert.ok(fqdnMatcher({ matchName: "WWW.Example.com" })(normalizeName("www.EXAMPLE.com")));
    assert.ok(!fqdnMatcher({ matchName: "a.com" })("axcom."));
  });
});

describe("validateFqdn", () => {
  it("says which characters are allowed, and points to patterns", () => {
    assert.deepEqual(validateFqdn({ matchName: "a.b" }, true), []);
    assert.match(validateFqdn({ matchName: "*.a" }, true)[0] ?? "", /use matchPattern/);
    assert.equal(validateFqdn({ matchPattern: "a b" }, true).length, 1);
    assert.equal(fqdnLabelKey({ matchPattern: "*.Example.COM" }), "*.Example.COM");
  });
});
