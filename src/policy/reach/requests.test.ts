import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HttpRule } from "../rule.ts";
import { kafkaTexts } from "./kafka.ts";
import { nameTexts } from "./names.ts";
import { requestTexts } from "./requests.ts";

const same = (a: readonly HttpRule[], b: readonly HttpRule[]) => assert.deepEqual(requestTexts(a).sort(), requestTexts(b).sort());

describe("requestTexts", () => {
  it("is the same for rules that let the same through", () => {
    same(
      [{ method: "GET|POST", path: "/x" }],
      [
        { method: "POST", path: "/x" },
        { method: "GET", path: "^/x$" },
      ],
    );
    same([{ path: "/v1/.*" }, { method: "GET", path: "/v1/users" }], [{ path: "/v1/.*" }]);
    same([{ path: "/.*", headers: ["X-A"] }, {}], [{}]);
    same([{ path: "/a" }, { path: "/a" }], [{ path: "/a" }]);
  });

  it("tells apart what is different, and what it cannot read", () => {
    const texts = (rule: HttpRule) => requestTexts([rule]).join();
    assert.notEqual(texts({ method: "GET" }), texts({ method: "GET", path: "/" }));
    assert.notEqual(texts({ path: "/v[12]" }), texts({ path: "/v(1|2)" }));
    const adds: HttpRule = { path: "/a", headerMatches: [{ name: "X", value: "1", mismatch: "ADD" }] };
    assert.equal(requestTexts([adds, {}]).length, 2, "a rule that changes headers has a say beside any other");
  });
});

describe("nameTexts", () => {
  it("is the same for selectors that take the same names, and leaves out what another covers", () => {
    const texts = (...names: string[]) => nameTexts(names.map((matchPattern) => ({ matchPattern }))).join(" ");
    assert.equal(texts("A.com.", "a.com"), "a.com");
    assert.equal(texts("*.a.com", "x.a.com", "x*.a.com", "y.z.a.com"), "*.a.com y.z.a.com");
    assert.equal(texts("**.a.com", "*.a.com", "x.y.a.com", "a.com"), "**.a.com a.com");
    assert.equal(texts("***", "a.com"), "*");
    assert.equal(texts("a**b.com"), "a*b.com");
    assert.equal(texts("*.com", "*.a.com"), "*.a.com *.com");
    assert.deepEqual(nameTexts([{ matchName: "a.com" }]), nameTexts([{ matchPattern: "a.com" }]));
  });
});

describe("kafkaTexts", () => {
  it("is the same for rules that let the same through, and takes a role for what it stands for", () => {
    const keys = ["produce", "initproducerid", "Metadata", "apiversions", "saslhandshake", "saslauthenticate"];
    const spelt = keys.map((apiKey) => ({ topic: "a", apiKey }));
    assert.deepEqual(kafkaTexts(spelt), kafkaTexts([{ role: "produce", topic: "a" }]));
    assert.deepEqual(kafkaTexts([{ role: "produce", topic: "a" }, ...spelt]), ['{"role":"produce","topic":"a"}']);
    assert.deepEqual(kafkaTexts([{ apiKey: "fetch", topic: "a" }, { apiKey: "fetch" }]), ['{"apiKey":"fetch"}']);
    assert.deepEqual(kafkaTexts([{ role: "consume" }, { apiKey: "fetch", topic: "a" }, { role: "produce" }]), [
      '{"role":"consume"}',
      '{"role":"produce"}',
    ]);
    assert.deepEqual(kafkaTexts([{}, { role: "consume" }]), ["{}"]);
    assert.notDeepEqual(kafkaTexts([{ topic: "a" }]), kafkaTexts([{ topic: "b" }]));
  });
});
