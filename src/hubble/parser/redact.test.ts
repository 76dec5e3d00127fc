import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AccessMessage } from "#proxy/protocol.ts";
import { createRedact, REDACTED, type RedactSettings } from "./redact.ts";

const OFF: RedactSettings = { enabled: true, urlQuery: false, userInfo: false, allowHeaders: [], denyHeaders: [] };

function access(url: string, ...headers: readonly string[]): AccessMessage {
  const peer = { ip: "10.0.0.1", port: 1, identity: 1 };
  const found = url.replace(/^.*?\/\/[^/]*/, "");
  return {
    ...({ type: "access", time: 0, kind: "request", verdict: "DROPPED", direction: "ingress", endpointId: 1 } as const),
    ...{ source: peer, destination: peer, latencyNs: 0, policyRevision: 1 },
    http: { method: "GET", url, protocol: "HTTP/1.1", code: 0, headers: headers.map((key) => ({ key, value: "v" })) },
    denied: { reason: "policy", origins: [], nearest: [{ origins: [], mismatches: [{ field: "path", wanted: "/", found }] }] },
  };
}

describe("redact", () => {
  it("leaves everything as it is when it is off", () => {
    const record = access("http://u:p@a/x?y=1", "cookie");
    assert.equal(createRedact({ ...OFF, enabled: false })(record), record);
  });

  for (const [name, settings, url, expected] of [
    ["the query", { urlQuery: true }, "http://a/x?token=1#f", "http://a/x"],
    ["the password", { userInfo: true }, "http://u:p@a/x?y=1", `http://u:${REDACTED}@a/x?y=1`],
    ["both", { urlQuery: true, userInfo: true }, "http://u:p@a/x?y=1", `http://u:${REDACTED}@a/x`],
    ["nothing of a plain URL", { urlQuery: true, userInfo: true }, "http://a/x", "http://a/x"],
  ] as const) {
    it(`hides ${name}, in explanations too`, () => {
      const { http, denied } = createRedact({ ...OFF, ...settings })(access(url));
      assert.equal(http.url, expected);
      assert.equal(denied?.nearest[0]?.mismatches[0]?.found, expected.replace(/^.*?\/\/[^/]*/, ""));
    });
  }

  for (const [settings, shown] of [
    [{}, []],
    [{ allowHeaders: ["Accept"] }, ["accept"]],
    [{ denyHeaders: ["Cookie"] }, ["accept", "host"]],
  ] as const) {
    it(`shows the headers ${shown.join(", ") || "of nobody"} with ${JSON.stringify(settings)}`, () => {
      const { http } = createRedact({ ...OFF, ...settings })(access("http://a/", "accept", "cookie", "host"));
      assert.deepEqual(
        http.headers.filter(({ value }) => value !== REDACTED).map(({ key }) => key),
        shown,
      );
    });
  }

  it("refuses both lists at once", () => {
    assert.throws(() => createRedact({ ...OFF, allowHeaders: ["a"], denyHeaders: ["b"] }), /cannot be used together/);
  });
});
