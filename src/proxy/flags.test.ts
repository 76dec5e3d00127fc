import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FlagError } from "#runtime/flags.ts";
import { readDeniedReply } from "./flags.ts";
import { echoServer } from "./testing/echo-server.ts";
import { anyPeer, collect, exchange, policyOf, startLoopback } from "./testing/loopback.ts";

const NOTHING = policyOf([anyPeer({ path: "/never" })]);
const GET = "GET /secret?token=1 HTTP/1.1\r\nHost: web\r\nX-Team: blue\r\nCookie: a=b\r\nConnection: close\r\n\r\n";

describe("proxy settings", () => {
  it("give the 403 its body and headers", async () => {
    const denied = readDeniedReply('{"error": "denied"}', "Content-Type: application/json; X-Denied-By: policy");
    const answer = await exchange({ policy: NOTHING, serve: echoServer([]), denied }, GET);
    assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\ncontent-length: 21\r\n/);
    assert.match(answer, /\r\ncontent-type: application\/json\r\nx-denied-by: policy\r\n/);
    assert.doesNotMatch(answer, /text\/plain/);
    assert.ok(answer.endsWith('\r\n\r\n{"error": "denied"}\r\n'), answer);
  });

  it("leave it as Cilium's otherwise", () => {
    assert.deepEqual(readDeniedReply("", ""), { body: "Access denied\r\n", headers: [] });
    assert.equal(readDeniedReply("no\r\n", "").body, "no\r\n");
  });

  for (const headers of ["Content-Length: 5", "Connection: close", "no colon", "X-A: b\r\nX-C: d", ": x"]) {
    it(`refuse the header ${JSON.stringify(headers)}`, () => {
      assert.throws(() => readDeniedReply("", headers), FlagError);
    });
  }

  for (const [recorded, shown] of [
    [["x-team"], ["x-team"]],
    [["*"], ["host", "x-team", "connection"]],
    [
      ["*", "Cookie"],
      ["host", "x-team", "cookie", "connection"],
    ],
  ] as const) {
    it(`choose ${recorded.join(" and ")} for the records`, async () => {
      await using proxy = await startLoopback({ policy: NOTHING, serve: echoServer([]), recorded });
      const client = await proxy.open();
      client.end(GET);
      await collect(client).ended;
      assert.deepEqual(
        proxy.records[0]?.http.headers.map(({ key }) => key),
        shown,
      );
    });
  }
});
