import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { type ConnectionOptions, connect, createSecureContext, TLSSocket } from "node:tls";
import type { PeerRule } from "../protocol.ts";
import { makeCertificate, type TestCertificate } from "../testing/certificates.ts";
import { echoServer } from "../testing/echo-server.ts";
import { collect, type Loopback, policyOf, startLoopback } from "../testing/loopback.ts";

const SERVER = makeCertificate("shop.example", "*.shop.example");
const PROXY = makeCertificate("shop.example");
const origins = [{ kind: "CiliumNetworkPolicy", namespace: "d", name: "tls", section: "egress", index: 0 }];
const rule = (more: Partial<PeerRule>): PeerRule => ({ identities: null, http: null, origins, ...more });
const names = (...serverNames: readonly string[]) => rule({ parser: "tls", serverNames });
const GET = "GET /public HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/** A server that speaks TLS and then `serve`. */
function secure(serve: (socket: Socket) => void, { certificate, privateKey }: TestCertificate = SERVER): (socket: Socket) => void {
  const secureContext = createSecureContext({ cert: certificate, key: privateKey });
  return (socket) => {
    const inside = new TLSSocket(socket, { isServer: true, secureContext });
    inside.on("error", () => undefined);
    serve(inside);
  };
}

/** What a TLS client gets for `text`, up to the end of its head; empty when there is no handshake. */
async function ask(proxy: Loopback, options: ConnectionOptions, text: string): Promise<string> {
  const client = connect({ socket: await proxy.open(), ca: [SERVER.certificate, PROXY.certificate], ...options });
  client.on("error", () => undefined);
  client.on("secureConnect", () => client.write(text));
  const answer = await collect(client).until("\r\n\r\n");
  client.destroy();
  return answer;
}

describe("TLS by server name", () => {
  const policy = policyOf([names("shop.example", "*.shop.example", "**.deep.example")]);
  for (const [servername, allowed] of [
    ["shop.example", true],
    ["SHOP.example", true],
    ["api.shop.example", true],
    ["a.b.shop.example", false],
    ["a.b.deep.example", true],
    ["evil.example", false],
    ["", false],
  ] as const) {
    it(`${allowed ? "passes" : "resets"} ${servername || "a client without a name"}`, async () => {
      await using proxy = await startLoopback({ policy, serve: secure(echoServer([])) });
      const options = { servername, checkServerIdentity: () => undefined };
      const answer = await ask(proxy, options, GET);
      assert.equal(answer.startsWith("HTTP/1.1 200"), allowed);
      const [record] = proxy.others;
      assert.equal(record?.verdict, allowed ? "FORWARDED" : "DROPPED");
      assert.equal(record?.type === "tls-access" && record.tls.serverName, servername.toLowerCase());
      const field = record?.denied?.nearest[0]?.mismatches[0]?.field;
      assert.equal(field, allowed ? undefined : "serverName");
    });
  }

  it("does not see inside: the server's own certificate is shown", async () => {
    await using proxy = await startLoopback({ policy, serve: secure(echoServer([])) });
    assert.equal(await ask(proxy, { servername: "shop.example", ca: PROXY.certificate }, GET), "");
    assert.match(await ask(proxy, { servername: "shop.example", ca: SERVER.certificate }, GET), /^HTTP\/1\.1 200/);
  });

  it("resets what is no TLS", async () => {
    await using proxy = await startLoopback({ policy, serve: echoServer([]) });
    const client = await proxy.open();
    client.write(GET);
    assert.equal(await collect(client).ended, "");
    assert.equal(proxy.others[0]?.verdict, "ERROR");
  });

  it("takes HTTP in the clear where other rules allow it", async () => {
    const both = policyOf([names("shop.example"), rule({ parser: "http", http: [{ path: "/public" }] })]);
    await using proxy = await startLoopback({ policy: both, serve: echoServer([]) });
    const client = await proxy.open();
    client.write(GET);
    assert.match(await collect(client).ended, /^HTTP\/1\.1 200/);
  });

  it("gives up on a client that does not finish its first message", async () => {
    await using proxy = await startLoopback({ policy, serve: echoServer([]), timeouts: { head: 30 } });
    const client = await proxy.open();
    client.write(Buffer.from([22, 3, 1, 0, 50, 1]));
    assert.equal(await collect(client).ended, "");
  });

  it("cuts a connection whose name is not allowed any more", async () => {
    await using proxy = await startLoopback({ policy, serve: secure((socket) => socket.write("hello")) });
    const client = connect({ socket: await proxy.open(), ca: SERVER.certificate, servername: "shop.example" });
    client.on("error", () => undefined);
    await once(client, "data");
    const closed = new Promise((resolve) => client.once("close", resolve));
    proxy.setPolicy(policyOf([names("other.example")], 2));
    await closed;
  });

  it("passes a client whose first word was on its way when the proxy began to stop", async () => {
    await using proxy = await startLoopback({ policy, serve: secure(echoServer([])), timeouts: { last: 60_000 } });
    const socket = await proxy.open();
    while (proxy.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    const drained = proxy.drain(60_000);
    const client = connect({ socket, servername: "shop.example", ca: SERVER.certificate });
    client.on("secureConnect", () => client.write(GET));
    assert.match(await collect(client).until("\r\n\r\n"), /^HTTP\/1\.1 200/);
    client.destroy();
    await drained;
  });
});

describe("TLS inspection", () => {
  const http = [{ method: "GET", path: "/public" }] as const;
  const inspected = (more: Partial<PeerRule> = {}) =>
    rule({ parser: "http", http, terminatingTls: PROXY, originatingTls: { trustedCa: SERVER.certificate }, ...more });
  const denied = GET.replace("/public", "/secret");

  it("judges the requests inside and calls the server by TLS", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: policyOf([inspected()]), serve: secure(echoServer(seen)) });
    const options = { servername: "shop.example", ca: PROXY.certificate };
    assert.match(await ask(proxy, options, GET), /^HTTP\/1\.1 200/);
    assert.match(await ask(proxy, options, denied), /^HTTP\/1\.1 403/);
    assert.equal(seen.join(""), GET);
    assert.ok(proxy.others.every((record) => record.type === "tls-access" && record.tls.terminated));
  });

  it("calls the server in the clear without originatingTLS", async () => {
    const { originatingTls: _, ...plain } = inspected();
    await using proxy = await startLoopback({ policy: policyOf([plain]), serve: echoServer([]) });
    assert.match(await ask(proxy, { servername: "shop.example" }, GET), /^HTTP\/1\.1 200/);
  });

  it("does not talk to a server that its authority does not know", async () => {
    await using proxy = await startLoopback({
      policy: policyOf([inspected({ originatingTls: { trustedCa: PROXY.certificate } })]),
      serve: secure(echoServer([])),
    });
    assert.match(
      await ask(proxy, { servername: "shop.example" }, GET),
      /^HTTP\/1\.1 503[\s\S]*certificate is not accepted: DEPTH_ZERO_SELF/,
    );
  });

  it("allows nothing while a Secret is unknown, or holds no pair", async () => {
    for (const terminatingTls of [null, {}, { certificate: PROXY.certificate, privateKey: SERVER.privateKey }]) {
      await using proxy = await startLoopback({ policy: policyOf([inspected({ terminatingTls })]), serve: echoServer([]) });
      assert.equal(await ask(proxy, { servername: "shop.example" }, GET), "");
      assert.doesNotMatch(JSON.stringify(proxy.others), /PRIVATE KEY/);
    }
    await using proxy = await startLoopback({ policy: policyOf([inspected({ originatingTls: null })]), serve: echoServer([]) });
    assert.match(await ask(proxy, { servername: "shop.example" }, GET), /^HTTP\/1\.1 503[\s\S]*the Secret of originatingTLS is unknown/);
  });

  it("makes TLS of HTTP that the client sends in the clear", async () => {
    const rules = [rule({ parser: "http", http, originatingTls: { trustedCa: SERVER.certificate } })];
    await using proxy = await startLoopback({ policy: policyOf(rules), serve: secure(echoServer([])) });
    for (const [text, code] of [
      [GET, 200],
      [denied, 403],
    ] as const) {
      const client = await proxy.open();
      client.write(text);
      assert.match(await collect(client).ended, new RegExp(`^HTTP/1.1 ${code}`));
    }
  });

  it("ends the connection's TLS only for the names of the rule", async () => {
    const rules = [inspected({ serverNames: ["shop.example"] }), names("*.shop.example")];
    await using proxy = await startLoopback({ policy: policyOf(rules), serve: secure(echoServer([])) });
    assert.match(await ask(proxy, { servername: "shop.example", ca: PROXY.certificate }, denied), /^HTTP\/1\.1 403/);
    assert.match(await ask(proxy, { servername: "a.shop.example", ca: SERVER.certificate }, denied), /^HTTP\/1\.1 200/);
  });
});
