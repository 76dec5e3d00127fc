import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import type { AccessRecord, PeerRule, PolicyMessage } from "../protocol.ts";
import { echoServer } from "../testing/echo-server.ts";
import { anyPeer, collect, type Loopback, type LoopbackOptions, policyOf, startLoopback } from "../testing/loopback.ts";

const GET = anyPeer({ method: "GET" });
const KAFKA: PeerRule = { ...GET, http: null, kafka: [{ role: "produce" }] };
const TLS: PeerRule = { ...GET, http: null, parser: "tls", serverNames: ["bank.example"] };

/** Nothing is enforced on the port; these rules are audited. */
function auditedOnly(rule: PeerRule): PolicyMessage {
  const { endpoints, ...rest } = policyOf([rule]);
  return { ...rest, endpoints: endpoints.map((one) => ({ ...one, ingress: [], audit: { ingress: one.ingress, egress: [] } })) };
}

/** The rules are enforced, but for the endpoint, which is in audit mode as a whole. */
function opened(rule: PeerRule): PolicyMessage {
  const [judged, all] = [policyOf([rule]), policyOf([rule, { identities: null, http: null, origins: [] }])];
  const audit = { ingress: judged.endpoints[0]?.ingress ?? [], egress: [] };
  return {
    ...all,
    endpoints: all.endpoints.map((one) => ({ ...one, ingress: one.ingress.map((port) => ({ ...port, audited: true })), audit })),
  };
}

const echo = (socket: Socket): void => void socket.pipe(socket);

/** What comes back for `bytes`, to the end, and what was recorded. */
async function ask(options: LoopbackOptions, bytes: Buffer | string): Promise<{ answer: string; records: AccessRecord[] }> {
  await using proxy = await startLoopback(options);
  const client = await proxy.open();
  const answer = collect(client);
  client.end(bytes, "latin1");
  return { answer: await answer.ended, records: recordsOf(proxy) };
}

const recordsOf = ({ records, others }: Loopback): AccessRecord[] => [...records, ...others];
const told = (records: readonly AccessRecord[]) => records.map(({ verdict, error, denied }) => [verdict, error, denied?.reason]);

describe("a port where rules are only audited", () => {
  const BINARY = Buffer.from([0x16, 0x99, 0, 0, 0, 0xff, 0xfe, 0x0a, 0x00]).toString("latin1").repeat(9000);
  for (const [name, rule, type] of [
    ["HTTP", GET, "access"],
    ["Kafka", KAFKA, "kafka-access"],
    ["TLS", TLS, "tls-access"],
  ] as const) {
    it(`passes what is no ${name} both ways, keeps the half-close, and reports it once`, async () => {
      for (const policy of [auditedOnly(rule), opened(rule)]) {
        const { answer, records } = await ask({ policy, serve: echo }, BINARY);
        assert.equal(answer, BINARY);
        assert.deepEqual(
          records.map((one) => [one.type, one.verdict, one.denied?.reason, one.denied?.origins.length]),
          [[type, "AUDIT", "unreadable", 1]],
        );
      }
    });
    it(`lets a server speak first where ${name} is expected`, async () => {
      const serve = (socket: Socket) => {
        socket.write("220 ready\r\n");
        echo(socket);
      };
      await using proxy = await startLoopback({ policy: auditedOnly(rule), serve });
      const client = await proxy.open();
      const heard = collect(client);
      assert.equal(await heard.until("\r\n"), "220 ready\r\n");
      client.end("EHLO me\r\n");
      assert.equal(await heard.ended, "220 ready\r\nEHLO me\r\n");
      assert.deepEqual(
        recordsOf(proxy).map(({ verdict, denied }) => [verdict, denied?.reason]),
        [["AUDIT", "unreadable"]],
      );
    });
  }

  it("keeps on refusing what is no HTTP where the rules are enforced, whatever else is audited", async () => {
    const [enforced, audited] = [policyOf([GET]), auditedOnly(anyPeer({ path: "/x" }))];
    const audit = audited.endpoints[0]?.audit ?? assert.fail();
    const both = { ...enforced, endpoints: enforced.endpoints.map((one) => ({ ...one, audit })) };
    const { answer, records } = await ask({ policy: both, serve: echo }, BINARY);
    assert.match(answer, /^HTTP\/1.1 400 /);
    assert.equal(records[0]?.verdict, "ERROR");
  });

  it("judges the requests that it can read, and passes one that enforced rules would answer with 400 behind them", async () => {
    const requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
    const broken = "GET / HTTP/1.1\r\nHost : a\r\n\r\n";
    const seen: string[] = [];
    const serve = echoServer(seen);
    await using proxy = await startLoopback({ policy: auditedOnly(GET), serve });
    const client = await proxy.open();
    const answer = collect(client);
    for (const byte of requests) client.write(byte, "latin1");
    await answer.until(/POST \/ HTTP/);
    client.end(broken);
    await answer.ended;
    assert.equal(seen.join(""), requests + broken);
    assert.deepEqual(told(proxy.records.filter(({ kind }) => kind === "request")), [
      ["FORWARDED", undefined, undefined],
      ["AUDIT", undefined, "policy"],
      ["AUDIT", proxy.records.at(-1)?.error, "unreadable"],
    ]);
    assert.equal(proxy.records.filter(({ kind, http }) => kind === "response" && http.code === 200).length, 2);
  });

  it("answers nothing itself when the server cannot be reached: the client is reset", async () => {
    await using proxy = await startLoopback({ policy: auditedOnly(GET), serve: echo, serverPort: 1 });
    const client = await proxy.open();
    const heard = collect(client);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal(await heard.ended, "");
  });

  it("serves a client whose first word was on its way when the proxy began to stop, and ends", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: auditedOnly(GET), serve: echoServer(seen) });
    const client = await proxy.open();
    while (proxy.connections === 0) await new Promise(setImmediate);
    const drained = proxy.drain(60_000);
    const heard = collect(client);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert.match(await heard.ended, /^HTTP\/1\.1 200 OK/);
    client.end();
    await drained;
  });

  it("waits a moment for the next request of an idle client when the proxy stops, then ends", async () => {
    for (const last of [60_000, 20]) {
      await using proxy = await startLoopback({ policy: auditedOnly(GET), serve: echoServer([]), timeouts: { last } });
      const client = await proxy.open();
      const heard = collect(client);
      client.write("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
      await heard.until("/first");
      const drained = proxy.drain(60_000);
      if (last > 20) client.write("GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
      assert.equal((await heard.ended).includes("/second"), last > 20);
      client.end();
      await drained;
    }
  });

  it("ends where rules come into force: what is read is finished, what is not is cut", async () => {
    const waiting: Socket[] = [];
    await using proxy = await startLoopback({ policy: auditedOnly(GET), serve: (socket) => void waiting.push(socket) });
    const [busy, unread] = [await proxy.open(), await proxy.open()];
    const [heard, cut] = [collect(busy), collect(unread)];
    busy.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    unread.write("\x00\x01\x02");
    while (waiting.length < 2 || proxy.records.length < 2) await new Promise(setImmediate);
    proxy.setPolicy(policyOf([GET], 2));
    await cut.ended;
    for (const socket of waiting) if (!socket.destroyed) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
    assert.match(await heard.ended, /well$/);
  });

  it("lets nothing new begin on a connection whose rules came into force", async () => {
    const seen: string[] = [];
    await using proxy = await startLoopback({ policy: auditedOnly(GET), serve: echoServer(seen, () => "") });
    const client = await proxy.open();
    const heard = collect(client);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while (seen.length === 0) await new Promise(setImmediate);
    proxy.setPolicy(policyOf([GET], 2));
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert.equal(await heard.ended, "");
    assert.doesNotMatch(seen.join(""), /POST/);
  });
});
