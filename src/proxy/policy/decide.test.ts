import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HttpRule, Mismatch, PeerRule } from "../protocol.ts";
import { decide } from "./decide.ts";
import type { RequestView } from "./http-rule.ts";
import { peerRules } from "./peer-rules.ts";

const request = (method: string, path: string, headers: Record<string, string> = {}, host = "web"): RequestView => ({
  ...{ method, path, host },
  header: (name) => headers[name],
  hasLookalike: () => false,
});
const rule = (name: string, identities: readonly number[] | null, ...http: readonly HttpRule[]): PeerRule => ({
  ...{ identities, http },
  origins: [{ kind: "CiliumNetworkPolicy", namespace: "d", name, section: "ingress", index: 0 }],
});
const allows = (rules: readonly PeerRule[], identity: number, view: RequestView) => decide(peerRules(rules, [identity]).http, view).allowed;

const hasR = request("GET", "/", { "x-r": "b" });

describe("decide", () => {
  const CASES: readonly (readonly [string, HttpRule, RequestView, boolean])[] = [
    ["an empty rule allows everything", {}, request("POST", "/x"), true],
    ["paths match as a whole", { path: "/get" }, request("GET", "/get/more"), false],
    ["and from their start", { path: "/get" }, request("GET", "/x/get"), false],
    ["the query belongs to the path", { path: "/get" }, request("GET", "/get?x=1"), false],
    ["and can be matched", { path: "/get(\\?.*)?" }, request("GET", "/get?x=1"), true],
    ["alternatives are anchored together", { path: "/a|/b" }, request("GET", "/bb"), false],
    ["each of them matches", { path: "/a|/b" }, request("GET", "/b"), true],
    ["anchors of the author do no harm", { path: "^/x$" }, request("GET", "/x"), true],
    ["methods are expressions", { method: "POST|PUT" }, request("PUT", "/"), true],
    ["methods mind their case", { method: "GET" }, request("get", "/"), false],
    ["hosts include the port", { host: "web" }, request("GET", "/", {}, "web:80"), false],
    ["hosts are expressions", { host: ".*\\.internal" }, request("GET", "/", {}, "a.internal"), true],
    ["a header name asks for presence", { headers: ["X-Token"] }, request("GET", "/", { "x-token": "" }), true],
    ["an absent header fails", { headers: ["X-Token"] }, request("GET", "/"), false],
    ["a header value must be equal", { headers: ["X-Env: prod eu"] }, request("GET", "/", { "x-env": "prod eu" }), true],
    ["not only alike", { headers: ["X-Env: prod"] }, request("GET", "/", { "x-env": "prod,dev" }), false],
    ["without a blank it is all a name", { headers: ["X-A:b"] }, request("GET", "/", { "x-a": "b" }), false],
    ["more colons do not matter", { headers: ["X-A:: b"] }, request("GET", "/", { "x-a": "b" }), true],
    ["a second blank is part of the value", { headers: ["X-A:  b"] }, request("GET", "/", { "x-a": "b" }), false],
    ["headerMatches compare values", { headerMatches: [{ name: "X-R", value: "a" }] }, request("GET", "/", { "x-r": "b" }), false],
    ["without a value they ask for presence", { headerMatches: [{ name: "X-R", value: "" }] }, request("GET", "/", { "x-r": "b" }), true],
    ["with an action they allow", { headerMatches: [{ name: "X-R", value: "a", mismatch: "LOG" }] }, request("GET", "/"), true],
    [
      "a secret that nobody resolved matches nothing",
      { headerMatches: [{ name: "X-R", secret: { name: "s" } }] },
      request("GET", "/", { "x-r": "b" }),
      false,
    ],
    [
      "not even with an action",
      { headerMatches: [{ name: "X-R", secret: { name: "s" }, mismatch: "REPLACE" }] },
      request("GET", "/"),
      false,
    ],
    ["a name that ends in a colon is no header's", { headers: ["X-A:"] }, request("GET", "/", { "x-a": "b" }), false],
    ["a blank in front leaves no name", { headers: [" X-A b"] }, request("GET", "/", { "x-a": "b" }), false],
    ["an empty name is no header's", { headers: [""] }, request("GET", "/", { "x-a": "b" }), false],
    ["names are in any case, values are not", { headers: ["x-ENV: Prod"] }, request("GET", "/", { "x-env": "prod" }), false],
    ["several values are one, joined by a comma", { headers: ["X-A: b,c"] }, request("GET", "/", { "x-a": "b,c" }), true],
    ["anchors of an expression change nothing", { path: "^/a$", method: "^GET$" }, request("GET", "/a"), true],
    ["an expression must match the query, too", { path: "/a" }, request("GET", "/a?b=1"), false],
    ["a host is asked for with its port", { host: "web" }, request("GET", "/", {}, "web:80"), false],
    [
      "a value beside a secret that nobody resolved is asked for",
      { headerMatches: [{ name: "X-R", secret: { name: "s" }, value: "b" }] },
      request("GET", "/", { "x-r": "b" }),
      true,
    ],
    ["an empty secret asks for presence", { headerMatches: [{ name: "X-R", secret: { name: "s" }, value: "" }] }, hasR, true],
    ["the host is a header", { headers: ["Host: web"], headerMatches: [{ name: "HOST" }] }, request("GET", "/"), true],
    ["so are Envoy's parts of the request line", { headers: [":method GET", ":path /a", ":authority: web"] }, request("GET", "/a"), true],
    ["what is no expression matches nothing", { host: "(" }, request("GET", "/"), false],
    ["nor does what RE2 takes for none", { path: "(?P<n>/)(?P<n>.*)" }, request("GET", "/a"), false],
    ["no rule may change the host", { headerMatches: [{ name: "Host", value: "a", mismatch: "REPLACE" }] }, hasR, false],
    ["nor where a body ends", { headerMatches: [{ name: "Content-Length", mismatch: "DELETE" }] }, hasR, false],
    ["but it may look at them", { headerMatches: [{ name: "Content-Length", value: "1", mismatch: "LOG" }] }, hasR, true],
    ["what is no header value cannot be set", { headerMatches: [{ name: "X-R", value: "b\n", mismatch: "REPLACE" }] }, hasR, false],
    ["nor under what is no name", { headerMatches: [{ name: "X R", value: "b", mismatch: "ADD" }] }, hasR, false],
    ["all fields must match", { method: "GET", path: "/a", headers: ["X-B"] }, request("GET", "/a"), false],
  ];
  for (const [name, http, view, expected] of CASES) {
    it(name, () => assert.equal(allows([rule("r", null, http)], 1, view), expected));
  }

  it("adds up the rules of a peer, and of no other (CVE-2023-30851)", () => {
    const rules = [rule("both", [1, 2], { method: "GET", path: "/x" }), { ...rule("all", [1]), http: null }];
    assert.equal(allows(rules, 1, request("POST", "/x")), true);
    assert.equal(allows(rules, 2, request("POST", "/x")), false);
    assert.equal(allows(rules, 2, request("GET", "/x")), true);
    assert.equal(allows(rules, 3, request("GET", "/x")), false);
  });

  it("allows nothing by an empty list", () => assert.equal(allows([rule("r", null)], 1, request("GET", "/")), false));

  it("collects the header actions of every rule that matches", () => {
    const add = (name: string) => ({ headerMatches: [{ name, value: "1", mismatch: "ADD" as const }] });
    const rules = [
      rule("a", null, { path: "/a", ...add("X-1") }, { path: "/b", ...add("X-2") }),
      rule("c", null, { path: "/.*", ...add("X-3") }),
    ];
    const decision = decide(peerRules(rules, [1]).http, request("GET", "/a"));
    assert.deepEqual(decision.allowed && decision.actions.map(({ name }) => name), ["x-1", "x-3"]);
  });

  const done = (before: string | undefined, ...asked: readonly [mismatch: Mismatch, value?: string][]) => {
    const headerMatches = asked.map(([mismatch, value]) => ({ name: "X-R", mismatch, ...(value === undefined ? {} : { value }) }));
    const view = request("GET", "/", before === undefined ? {} : { "x-r": before });
    const decision = decide(peerRules([rule("r", null, { headerMatches })], [1]).http, view);
    return decision.allowed ? decision.actions.map(({ mismatch, value }) => `${mismatch} ${value}`.trim()) : "denied";
  };
  const IN_TURN: readonly (readonly [string, ReturnType<typeof done>, string[]])[] = [
    ["two that agree add one header", done(undefined, ["ADD", "a"], ["REPLACE", "a"], ["ADD", "a"]), ["ADD a"]],
    ["the last of two replacements stays", done("x", ["REPLACE", "a"], ["REPLACE", "b"]), ["REPLACE b"]],
    ["what is added and then deleted is gone", done(undefined, ["ADD", "b"], ["DELETE", "a"]), ["DELETE a"]],
    ["what is deleted can be added", done("c", ["DELETE", "a"], ["ADD", "b"]), ["DELETE a", "ADD b"]],
    ["what is added stands behind what is there", done("c", ["ADD", "b"], ["REPLACE", "c,b"]), ["ADD b"]],
    ["what is set is there for the next", done(undefined, ["REPLACE", "a"], ["LOG", "a"], ["LOG"]), ["REPLACE a"]],
    ["what is wrong is logged, whatever comes after it", done("c", ["LOG", "a"], ["REPLACE", "a"]), ["LOG a", "REPLACE a"]],
    ["without a value it is about presence", done("c", ["LOG"], ["ADD"], ["DELETE"], ["REPLACE"]), []],
  ];
  for (const [name, actions, expected] of IN_TURN) it(`does header actions in turn: ${name}`, () => assert.deepEqual(actions, expected));

  it("collects them for every path that the server may read", () => {
    const replace = { headerMatches: [{ name: "X-Role", value: "guest", mismatch: "REPLACE" as const }] };
    for (const http of [[{ path: "/admin", ...replace }, { path: "/.*" }], [{ path: "/admin", ...replace }]]) {
      const rules = http.length === 2 ? [rule("a", null, ...http)] : [rule("a", null, ...http), { ...rule("l4", null), http: null }];
      const decision = decide(peerRules(rules, [1]).http, request("GET", "/public/../admin"));
      assert.deepEqual(decision.allowed && decision.actions.map(({ name }) => name), ["x-role"]);
    }
  });

  it("denies a path that nobody can read, where rules go by it to change headers", () => {
    const replace = { path: "/admin", headerMatches: [{ name: "X-Role", value: "guest", mismatch: "REPLACE" as const }] };
    const open = { ...rule("l4", null), http: null };
    const asked = request("GET", "/%2525252561dmin");
    assert.equal(decide(peerRules([rule("a", null, replace), open], [1]).http, asked).allowed, false);
    assert.equal(decide(peerRules([open], [1]).http, asked).allowed, true);
  });

  it("names the nearest rules first, with every field that does not match", () => {
    const rules = [
      rule("far", null, { method: "PUT", path: "/other", host: "x" }),
      rule("near", null, { method: "POST", path: "/get.*" }),
      rule("elsewhere", [9], {}),
    ];
    const decision = decide(peerRules(rules, [5]).http, request("POST", "/post"));
    assert.equal(decision.allowed, false);
    const nearest = decision.allowed ? [] : decision.denied.nearest;
    assert.deepEqual(
      nearest.map(({ origins, mismatches }) => [origins[0]?.name, mismatches.map(({ field }) => field)]),
      [
        ["near", ["path"]],
        ["far", ["method", "path", "host"]],
        ["elsewhere", ["identity"]],
      ],
    );
  });

  it("does not show header values of rules", () => {
    const decision = decide(
      peerRules([rule("r", null, { headers: ["X-Key: s3cret"] })], [1]).http,
      request("GET", "/", { "x-key": "guess" }),
    );
    assert.equal(JSON.stringify(decision).includes("s3cret"), false);
    assert.equal(JSON.stringify(decision).includes("guess"), false);
  });
});
