import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { openDoor } from "../testing/door.ts";
import { upgrading } from "../testing/h2c.ts";
import { anyPeer, type LoopbackOptions, policyOf, startLoopback } from "../testing/loopback.ts";

const POLICY = policyOf([anyPeer({ path: "/public.*" })]);

/** Echoes bodies; without one, says which path was asked for. */
const echo = (socket: Socket) => {
  const session = performServerHandshake(socket);
  session.on("error", () => undefined);
  session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200 });
    if (headers[":method"] === "GET") stream.end(`${headers[":path"]}\n`);
    else stream.pipe(stream);
  });
};

/** What a program prints that is given the address of the proxy; `input` is what it reads. */
async function run(
  program: string,
  serve: LoopbackOptions["serve"],
  words: (url: string) => readonly string[],
  input?: Buffer,
): Promise<Buffer> {
  await using proxy = await startLoopback({ policy: POLICY, serve });
  await using door = await openDoor(proxy);
  return await new Promise((resolve, reject) => {
    const done = (error: Error | null, stdout: Buffer) => (error ? reject(error) : resolve(stdout));
    const child = execFile(program, words(`http://127.0.0.1:${door.port}`), { encoding: "buffer", maxBuffer: 1e8 }, done);
    child.stdin?.end(input);
  });
}

/** A client that may not be there: then its tests say so. */
const need = (program: string) => (existsSync(program) ? {} : { skip: `${program} is not installed` });
const [CURL, NGHTTP, H2LOAD] = ["/usr/bin/curl", "/usr/bin/nghttp", "/usr/bin/h2load"];
const PRIOR = ["-s", "--noproxy", "*", "--http2-prior-knowledge", "-w", " %{http_code} %{http_version}\n"];

describe("real clients of HTTP/2", () => {
  it("curl, with prior knowledge", need(CURL), async () => {
    for (const [path, said] of [
      ["/public/1", "/public/1\n 200 2\n"],
      ["/private", "Access denied\r\n 403 2\n"],
    ] as const)
      assert.equal(String(await run(CURL, echo, (url) => [...PRIOR, url + path])), said);
  });

  it("curl, uploading much, also where it is denied", need(CURL), async () => {
    const body = randomBytes(5_000_000);
    const upload = ["-s", "--noproxy", "*", "--http2-prior-knowledge", "--data-binary", "@-"];
    assert.ok((await run(CURL, echo, (url) => [...upload, `${url}/public`], body)).equals(body));
    assert.equal(String(await run(CURL, echo, (url) => [...upload, `${url}/private`], body)), "Access denied\r\n");
  });

  it("curl, by upgrade", need(CURL), async () => {
    const words = ["-s", "--noproxy", "*", "--http2", "-w", " %{http_code} %{http_version}\n"];
    const said = await run(CURL, upgrading([]), (url) => [...words, `${url}/public/1`, `${url}/private`, `${url}/public/2`]);
    assert.equal(String(said), "hello 200 2\nAccess denied\r\n 403 2\nhello 200 2\n");
  });

  it("nghttp, several requests on one connection", need(NGHTTP), async () => {
    const said = await run(NGHTTP, echo, (url) => [1, 2, 3].flatMap((n) => [`${url}/public/${n}`, `${url}/private/${n}`]));
    assert.deepEqual(String(said).trim().split(/\r?\n/).sort(), [
      ...["/public/1", "/public/2", "/public/3"],
      ...Array<string>(3).fill("Access denied"),
    ]);
  });

  it("h2load, many at once", need(H2LOAD), async () => {
    const said = String(await run(H2LOAD, echo, (url) => ["-n2000", "-c5", "-m50", `${url}/public`, `${url}/private`]));
    assert.match(said, /2000 done, 1000 succeeded, 1000 failed, 0 errored/);
    assert.match(said, /status codes: 1000 2xx, 0 3xx, 1000 4xx, 0 5xx/);
  });
});
