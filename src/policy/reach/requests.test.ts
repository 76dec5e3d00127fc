import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HttpRule } from "../rule.ts";
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
