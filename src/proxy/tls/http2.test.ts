import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createSecureServer } from "node:http2";
import { createServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { Client, credentials, Server, ServerCredentials, type ServiceError, status } from "@grpc/grpc-js";
import type { PeerRule } from "../protocol.ts";
import { makeCertificate } from "../testing/certificates.ts";
import { openDoor } from "../testing/door.ts";
import { type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const SERVER = makeCertificate("shop.example");
const PROXY = makeCertificate("shop.example");
const http = [
  { method: "GET", path: "/public" },
  { method: "POST", path: "/shop.Cart/Add" },
];
const inspected: PeerRule = {
  ...{ identities: null, parser: "http", http, origins: [] },
  ...{ terminatingTls: PROXY, originatingTls: { trustedCa: SERVER.certificate } },
};
const { originatingTls: _, ...inTheClear } = inspected;
const pair = { key: SERVER.privateKey, cert: SERVER.certificate };

async function listening(server: HttpsServer | ReturnType<typeof createSecureServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return (server.address() as AddressInfo).port;
}

async function curl(proxy: Loopback, path: string, ...more: readonly string[]): Promise<string> {
  await using door = await openDoor(proxy);
  const directory = await mkdtemp(join(tmpdir(), "cilium-tls-"));
  try {
    await writeFile(join(directory, "ca"), PROXY.certificate);
    const names = ["--resolve", `shop.example:${door.port}:127.0.0.1`, "--noproxy", "*", "--cacert", join(directory, "ca")];
    const url = `https://shop.example:${door.port}${path}`;
    const { stdout } = await promisify(execFile)("curl", ["-s", "-w", " %{http_code} %{http_version}", ...names, ...more, url]);
    return stdout;
  } finally {
    await rm(directory, { recursive: true });
  }
}

const overTls = credentials.createSsl(Buffer.from(PROXY.certificate));

/** Calls a method by gRPC: what came back, or the status. */
async function callGrpc(proxy: Loopback, method: string, trust = overTls): Promise<string> {
  await using door = await openDoor(proxy);
  const named = { "grpc.ssl_target_name_override": "shop.example", "grpc.default_authority": "shop.example" };
  const client = new Client(`127.0.0.1:${door.port}`, trust, named);
  const bytes = (value: Buffer) => value;
  const said = await new Promise<string>((resolve) => {
    const answer = (error: ServiceError | null, value?: Buffer) => resolve(error === null ? String(value) : (status[error.code] ?? ""));
    client.makeUnaryRequest(`/shop.Cart/${method}`, bytes, bytes, Buffer.from("tea"), answer);
  });
  client.close();
  return said;
}

async function startGrpc(trust: ServerCredentials): Promise<{ readonly port: number } & Disposable> {
  const server = new Server();
  const bytes = (value: Buffer) => value;
  const kind = { requestStream: false, responseStream: false, requestSerialize: bytes, requestDeserialize: bytes };
  const add = { path: "/shop.Cart/Add", ...kind, responseSerialize: bytes, responseDeserialize: bytes };
  server.addService(
    { Add: add },
    { Add: (call: { request: Buffer }, reply: (error: null, value: Buffer) => void) => reply(null, Buffer.from(`added ${call.request}`)) },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", trust, (error, bound) => (error ? reject(error) : resolve(bound))),
  );
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

const secured = () => ServerCredentials.createSsl(null, [{ private_key: Buffer.from(pair.key), cert_chain: Buffer.from(pair.cert) }]);
const start = (rule: PeerRule, serverPort: number) => startLoopback({ policy: policyOf([rule]), serve: () => undefined, serverPort });

describe("HTTP/2 inside TLS that is inspected", () => {
  const hasCurl = existsSync("/usr/bin/curl") ? {} : { skip: "curl is not installed" };

  it("is what curl gets from a server that speaks it, and each request is judged", hasCurl, async () => {
    const server = createSecureServer({ ...pair, allowHTTP1: true }, (request, answer) =>
      answer.end(`${request.httpVersion} ${request.url}`),
    );
    try {
      await using proxy = await start(inspected, await listening(server));
      assert.equal(await curl(proxy, "/public", "--http2"), "2.0 /public 200 2");
      assert.equal(await curl(proxy, "/secret", "--http2"), "Access denied\r\n 403 2");
      assert.equal(await curl(proxy, "/public", "--http1.1"), "1.1 /public 200 1.1");
      const [allowed, answered, denied] = proxy.records;
      assert.deepEqual([allowed?.verdict, answered?.http.code, denied?.verdict], ["FORWARDED", 200, "DROPPED"]);
      assert.match(denied?.http.url ?? "", /^https:\/\/shop\.example:\d+\/secret$/);
    } finally {
      server.close();
    }
  });

  it("is HTTP/1.1 where the server speaks nothing else", hasCurl, async () => {
    const server = createServer(pair, (request, answer) => answer.end(`${request.httpVersion} ${request.url}`));
    try {
      await using proxy = await start(inspected, await listening(server));
      assert.equal(await curl(proxy, "/public", "--http2"), "1.1 /public 200 1.1");
      assert.equal(await curl(proxy, "/secret", "--http2"), "Access denied\r\n 403 1.1");
      assert.equal(await callGrpc(proxy, "Add"), "UNAVAILABLE");
      assert.equal(await callGrpc(proxy, "Clear"), "PERMISSION_DENIED");
    } finally {
      server.close();
    }
  });

  it("carries gRPC, with TLS to the server and without", async () => {
    for (const [trust, rule] of [
      [secured(), inspected],
      [ServerCredentials.createInsecure(), inTheClear],
    ] as const) {
      using server = await startGrpc(trust);
      await using proxy = await start(rule, server.port);
      assert.equal(await callGrpc(proxy, "Add"), "added tea");
      assert.equal(await callGrpc(proxy, "Clear"), "PERMISSION_DENIED");
    }
  });

  it("is unavailable to gRPC while its server is not there, or not the one that is trusted", async () => {
    using server = await startGrpc(secured());
    await using unknown = await start({ ...inspected, originatingTls: { trustedCa: PROXY.certificate } }, server.port);
    assert.equal(await callGrpc(unknown, "Add"), "UNAVAILABLE");
    await using gone = await start(inspected, 1);
    assert.equal(await callGrpc(gone, "Add"), "UNAVAILABLE");
  });

  it("is asked for where HTTP/2 comes in the clear, and spoken with nobody who has not agreed", async () => {
    const { terminatingTls: __, ...originated } = inspected;
    const call = async (port: number) => {
      await using proxy = await start(originated, port);
      return await callGrpc(proxy, "Add", credentials.createInsecure());
    };
    using server = await startGrpc(secured());
    assert.equal(await call(server.port), "added tea");
    const old = createServer(pair, (_request, answer) => answer.end());
    try {
      assert.equal(await call(await listening(old)), "UNAVAILABLE");
    } finally {
      old.close();
    }
  });
});
