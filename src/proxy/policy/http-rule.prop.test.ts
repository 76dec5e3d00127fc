import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as engine from "#policy/l7/http.ts";
import { compileHttpRule, ruleMatches } from "./http-rule.ts";
import { indexRules } from "./rule-index.ts";

const some = <T>(values: readonly T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
const rule = fc.record(
  {
    path: some(["", "/", "/public.*", "/a|/b", "^/x$", "/api/v[0-9]+/.*", ".*"]),
    method: some(["", "GET", "POST|PUT", ".*", "get"]),
    host: some(["", "(", "web", ".*\\.internal", "web.*"]),
    headers: fc.array(
      fc.constantFrom(
        "X-A",
        "X-A: b",
        "X-A:b",
        "X-A:: b",
        "x-a: V",
        "X-Empty: ",
        "X-B",
        "Host: web",
        ":path /b",
        ":method GET",
        ":authority",
      ),
      { maxLength: 2 },
    ),
    headerMatches: fc.array(
      fc.constantFrom(
        { name: "X-B" },
        { name: "host", mismatch: "ADD" as const },
        { name: "host", value: "web" },
        { name: "X-A", value: "b" },
        { name: "X-A", value: "q", mismatch: "LOG" as const },
      ),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: [] },
);
const request = fc.record({
  method: fc.constantFrom("GET", "POST", "get"),
  path: fc.constantFrom("/", "/public/x", "/b", "/x", "/api/v1/y", "/a?b"),
  host: fc.constantFrom("web", "a.internal", "web:80"),
  headers: fc.array(fc.tuple(fc.constantFrom("x-a", "x-b", "x-empty"), fc.constantFrom("b", "", "V")), { maxLength: 3 }),
});

describe("HTTP rules (properties)", () => {
  it("mean to the proxy what they mean to the policy engine", () => {
    fc.assert(
      fc.property(rule, request, (given, asked) => {
        // fast-check leaves out keys by setting them to undefined, too.
        const plain = JSON.parse(JSON.stringify(given)) as Parameters<typeof compileHttpRule>[0];
        const values = (name: string) => asked.headers.filter(([key]) => key === name.toLowerCase()).map(([, value]) => value);
        const header = (name: string) => (values(name).length === 0 ? undefined : values(name).join(","));
        const view = { ...asked, header, hasLookalike: () => false };
        const mismatches = engine.httpMismatches(engine.compileHttpRule(plain as Parameters<typeof engine.compileHttpRule>[0]), asked);
        assert.equal(ruleMatches(compileHttpRule(plain), view, asked.path), mismatches.length === 0);
      }),
      { numRuns: 2000 },
    );
  });

  it("are found by the paths they allow, in their order", () => {
    const part = fc.constantFrom(
      "/",
      "a",
      "b",
      ".",
      ".*",
      "a?",
      "b*",
      "a+",
      "(a|b)",
      "[ab]",
      "\\.",
      "a{0,2}",
      "^",
      "$",
      "|",
      "(?i)",
      "(?:ab)?",
      "é?",
      "😀*",
    );
    const path = fc.array(part, { maxLength: 5 }).map((parts) => `/${parts.join("")}`);
    const isPattern = (pattern: string) => {
      try {
        compileHttpRule({ path: pattern });
        return true;
      } catch {
        return false;
      }
    };
    const asked = fc.string({ unit: fc.constantFrom("a", "b", "A", "/", "."), maxLength: 5 }).map((text) => `/${text}`);
    fc.assert(
      fc.property(fc.array(path.filter(isPattern)), fc.array(asked, { minLength: 1 }), (patterns, paths) => {
        const rules = patterns.map((pattern) => compileHttpRule({ path: pattern }));
        const index = indexRules(rules, (rule) => rule.path?.prefix ?? "");
        for (const one of paths) {
          const matching = (among: readonly (typeof rules)[number][]) => among.filter((rule) => rule.path?.test(one));
          assert.deepEqual(matching(index.candidates(one)), matching(rules));
          assert.equal(
            index.first(one, (rule) => rule.path?.test(one) === true),
            matching(rules)[0],
          );
        }
      }),
      { numRuns: 1000 },
    );
  });
});
