import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as engine from "#policy/http.ts";
import { compileHttpRule, ruleMatches } from "./http-rule.ts";

const some = <T>(values: readonly T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
const rule = fc.record(
  {
    path: some(["", "/", "/public.*", "/a|/b", "^/x$", "/api/v[0-9]+/.*", ".*"]),
    method: some(["", "GET", "POST|PUT", ".*", "get"]),
    host: some(["", "web", ".*\\.internal", "web.*"]),
    headers: fc.array(fc.constantFrom("X-A", "X-A: b", "X-A:b", "X-A:: b", "x-a: V", "X-Empty: ", "X-B"), { maxLength: 2 }),
    headerMatches: fc.array(
      fc.constantFrom({ name: "X-B" }, { name: "X-A", value: "b" }, { name: "X-A", value: "q", mismatch: "LOG" as const }),
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
        const view = { ...asked, header: (name: string) => (values(name).length === 0 ? undefined : values(name).join(",")) };
        const mismatches = engine.httpMismatches(engine.compileHttpRule(plain as Parameters<typeof engine.compileHttpRule>[0]), asked);
        assert.equal(ruleMatches(compileHttpRule(plain), view, asked.path), mismatches.length === 0);
      }),
      { numRuns: 2000 },
    );
  });
});
