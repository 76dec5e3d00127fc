import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { PeerRule } from "../protocol.ts";
import { decide } from "./decide.ts";
import { ANYBODY, type KernelRules, kernelRules } from "./kernel-rules.ts";
import { peerRules } from "./peer-rules.ts";

const some = <T>(values: readonly T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
const http = fc.record(
  {
    path: some([
      ...["", "/", "/a", "/a.*", "/a/", "/a/.*", "/a|/b", "/a.*|/b", "^/a$", "/a\\.b", "/a\\.b.*", "/a\\.*", ".*", "/.*", "/a\\$", "/a$b"],
      ...[
        "/a.b",
        "/(a|b)",
        "/a+",
        "/a b",
        "/a .*",
        "a",
        "",
        "/a?b",
        "/a\\?b.*",
        "^/a|/b$",
        `/${"x".repeat(300)}`,
        "\\.",
        "/a\\d",
        "/a||/b",
      ],
    ]),
    method: some(["", "GET", "GET|POST", ".*", "get", "G.*", "(GET)", "^GET$", "X-LONG-LONG-LONG-LONG", "|GET"]),
    host: some(["", "", "", "web"]),
  },
  { requiredKeys: [] },
);
const rule = fc.record({
  identities: fc.constantFrom(null, [7], [7, 8], []),
  http: fc.option(fc.array(http, { maxLength: 3 }), { nil: null, freq: 4 }),
  origins: fc.constant([]),
});
const request = fc.record({
  method: fc.constantFrom("GET", "POST", "get", "G", "GETX", "X-LONG-LONG-LONG-LONG"),
  path: fc.constantFrom(
    "/",
    "/a",
    "/b",
    "/a/",
    "/a/b",
    "/a.b",
    "/a.bc",
    "/axb",
    "/a$",
    "/a?b",
    "/ab",
    "/c",
    "/a?b/c",
    `/${"x".repeat(300)}`,
  ),
});

/** As bpf/lib/http_judge.h compares. */
function kernelAllows({ allowAll, paths }: KernelRules, { method, path }: { readonly method: string; readonly path: string }): boolean {
  const asked = `${path} `.slice(0, 232);
  return allowAll || paths.some((one) => (one.method === "" || one.method === method) && asked.startsWith(one.path));
}

describe("rules for the kernel (properties)", () => {
  it("allow exactly what they allow in the proxy", () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 3 }), request, fc.constantFrom(7, 8, 9), (rules, asked, identity) => {
        const plain = JSON.parse(JSON.stringify(rules)) as PeerRule[];
        const compiled = kernelRules(plain);
        if (compiled === undefined) return;
        compared++;
        const mine = compiled.get(identity) ?? compiled.get(ANYBODY);
        const view = { ...asked, host: "web", header: () => undefined, hasLookalike: () => false };
        assert.equal(mine !== undefined && kernelAllows(mine, asked), decide(peerRules(plain, [identity]).http, view).allowed);
      }),
      { numRuns: 20_000 },
    );
    assert.ok(compared > 2000, `${compared} of the rules were for the kernel`);
  });
});
