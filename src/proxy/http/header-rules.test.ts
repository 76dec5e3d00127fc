import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, collect, exchange, policyOf, startLoopback } from "../testing/loopback.ts";

const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: web\r\n${more}\r\n`;

describe("connection: rules that change headers", () => {
  it("changes headers as the rules ask", async () => {
    const headerMatches = [
      { name: "X-Add", value: "1", mismatch: "ADD" },
      { name: "X-Role", value: "user", mismatch: "REPLACE" },
      { name: "X-Debug", value: "no", mismatch: "DELETE" },
      { name: "X-Log", value: "z", mismatch: "LOG" },
    ] as const;
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: policyOf([anyPeer({ headerMatches })]), serve: echoServer(seen) });
    const client = await proxy.open();
    const answer = collect(client);
    client.end(get("/", "X-Role: admin\r\nA: b\r\nX_Role: root\r\nx-role: more\r\nX-Debug: yes\r\n"));
    await answer.ended;
    assert.equal(seen.join(""), get("/", "A: b\r\nx-add: 1\r\nx-role: user\r\n"));
    assert.deepEqual(proxy.records[0]?.missingHeaders, ["x-add", "x-role", "x-debug", "x-log"]);
  });

  const headerMatches = [{ name: "X-Role", value: "guest", mismatch: "REPLACE" }] as const;
  const options = { policy: policyOf([anyPeer({ headerMatches })]) };
  const ask = async (text: string) => {
    const seen: string[] = [];
    const answer = await exchange({ ...options, serve: echoServer(seen) }, text);
    return { answer, seen: seen.join("") };
  };

  it("leaves no header beside the right one that a server may take for it", async () => {
    const { seen } = await ask(get("/", "X-Role: guest\r\nX_Role: admin\r\n"));
    assert.equal(seen, get("/", "x-role: guest\r\n"));
    const met = get("/", "X-Role: guest\r\nX-Roles: admin\r\n");
    assert.equal((await ask(met)).seen, met);
  });

  it("denies a request that brings the wanted header, and another that a server may take for it", async () => {
    for (const rule of [{ headers: ["X-Role: guest"] }, { headerMatches: [{ name: "X-Role", value: "guest" }] }]) {
      const asked = { policy: policyOf([anyPeer(rule)]), serve: echoServer([]) };
      assert.match(await exchange(asked, get("/", "X-Role: guest\r\n")), /^HTTP\/1\.1 200 /);
      assert.match(await exchange(asked, get("/", "X-Role: guest\r\nX_Role: admin\r\n")), /^HTTP\/1\.1 403 /);
    }
  });

  it("lets no client have the next hop take away what they add", async () => {
    const { seen } = await ask(get("/", "Connection: close, X-Role\r\n"));
    assert.equal(seen, get("/", "x-role: guest\r\nconnection: close\r\n"));
    assert.equal((await ask(get("/", "Connection: x-role\r\n"))).seen, get("/", "x-role: guest\r\n"));
  });

  it("refuses trailers by the names that rules go by", async () => {
    const trailed = (trailer: string) =>
      `POST / HTTP/1.1\r\nHost: a\r\nX-Role: guest\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${trailer}: admin\r\n\r\n`;
    for (const name of ["X-Role", "x_role"]) assert.match((await ask(trailed(name))).answer, /^HTTP\/1\.1 400 .*forbidden trailer/s);
    assert.match((await ask(trailed("X-Sum"))).answer, /^HTTP\/1\.1 200 /);
  });
});
