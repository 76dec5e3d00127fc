import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { describe, it } from "node:test";
import { echoServer } from "../testing/echo-server.ts";
import { AGREED, upgrading, withoutFirstStream } from "../testing/h2c.ts";
import { anyPeer, collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([anyPeer({ method: "GET", path: "/public.*" })]);
const UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: web\r\n${UPGRADE}X-Long: ${"v".repeat(300)}\r\n\r\n`;

/** Asks for HTTP/2 in HTTP/1.1, then for `more` in HTTP/2; gives what came for each. */
async function upgrade(proxy: Loopback, path: string, ...more: readonly string[]): Promise<string[]> {
  const socket = await proxy.open();
  const answers = collect(socket);
  socket.write(ask(path));
  const first = await answers.until("\r\n\r\n");
  if (!first.startsWith(AGREED)) return [first.slice(0, 12)];
  socket.removeAllListeners("data");
  const rest = Buffer.from(first.slice(AGREED.length), "latin1");
  const session = connect("http://web", { createConnection: () => withoutFirstStream(socket, rest), maxDeflateDynamicTableSize: 0 });
  session.on("error", () => undefined);
  const got: string[] = [];
  for (const wanted of [path, ...more]) {
    const stream = session.request({ ":path": wanted, ":authority": "web", "x-long": "v".repeat(300) });
    stream.resume();
    const closed = once(stream, "close");
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    got.push(`${stream.id} ${headers[":status"]} ${headers["x-path"] ?? ""}`);
    await closed;
  }
  session.destroy();
  return got;
}

describe("upgrade to HTTP/2", () => {
  it("goes on in HTTP/2 when the server agrees, and judges every further stream", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading(seen) });
    assert.deepEqual(await upgrade(proxy, "/public/1", "/private", "/public/2"), ["1 200 /public/1", "3 403 ", "5 200 /public/2"]);
    // With the numbers that the client has given them.
    assert.deepEqual(seen, ["1 /public/1", "5 /public/2"]);
    assert.deepEqual(
      proxy.records.map(({ kind, verdict, http }) => `${kind} ${verdict} ${http.url} ${http.code}`),
      [
        ...["request FORWARDED http://web/public/1 0", "response FORWARDED http://web/public/1 200"],
        "request DROPPED http://web/private 403",
        ...["request FORWARDED http://web/public/2 0", "response FORWARDED http://web/public/2 200"],
      ],
    );
  });

  it("is denied as the HTTP/1.1 request that it is", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading(seen) });
    assert.deepEqual([await upgrade(proxy, "/private"), seen], [["HTTP/1.1 403"], []]);
  });

  it("stays HTTP/1.1 when the server does not agree", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: echoServer([]) });
    assert.deepEqual(await upgrade(proxy, "/public"), ["HTTP/1.1 200"]);
  });

  it("ends when the client goes on with something else", async () => {
    await using proxy = await startLoopback({ policy: POLICY, serve: upgrading([]) });
    const socket = await proxy.open();
    const answers = collect(socket);
    socket.write(ask("/public"));
    await answers.until("\r\n\r\n");
    socket.write("GET /private HTTP/1.1\r\nHost: web\r\n\r\n");
    assert.doesNotMatch(await answers.ended, /HTTP\/1\.1 200/);
  });
});
