import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { decode, encode, type Packet, type RecordType, streamDecode, streamEncode } from "dns-packet";
import { type DnsServer, startDnsServer } from "./server.ts";
import { createZone } from "./zone.ts";

const MANY = Array.from({ length: 60 }, (_, index) => `10.244.1.${index + 1}`);

function exampleZone() {
  const zone = createZone("cluster.local");
  zone.setServices([
    { metadata: { name: "web", namespace: "demo" }, spec: { clusterIP: "10.96.1.2" } },
    { metadata: { name: "many", namespace: "demo" }, spec: { clusterIP: "None" } },
    { metadata: { name: "pay", namespace: "demo" }, spec: { type: "ExternalName", externalName: "pay.example" } },
    { metadata: { name: "inner", namespace: "demo" }, spec: { type: "ExternalName", externalName: "web.demo.svc.cluster.local" } },
  ]);
  const labels = { "kubernetes.io/service-name": "many" };
  zone.setSlices([
    { metadata: { name: "many-x", namespace: "demo", labels }, endpoints: MANY.map((address) => ({ addresses: [address] })) },
  ]);
  return zone;
}

function query(name: string, type: RecordType = "A", more: Partial<Packet> = {}): Packet {
  return { type: "query", id: 4711, flags: 0x0100, questions: [{ name, type }], ...more };
}

const rcode = (packet: Packet) => (packet.flags ?? 0) & 0xf;

describe("the DNS server", () => {
  let server: DnsServer;
  const asked: string[] = [];
  before(async () => {
    server = await startDnsServer({
      zone: exampleZone(),
      domain: "cluster.local",
      port: 0,
      forward: async (message) => {
        const { id, questions = [] } = decode(message);
        asked.push(questions[0]?.name ?? "");
        if (questions[0]?.name === "silent.example") return undefined;
        return encode({
          type: "response",
          id: id ?? 0,
          questions,
          answers: [{ type: "A", name: questions[0]?.name ?? "", data: "198.51.100.9", ttl: 3 }],
        });
      },
    });
  });
  after(() => server[Symbol.asyncDispose]());

  async function overUdp(message: Buffer): Promise<ReturnType<typeof decode>> {
    const socket = createSocket("udp4");
    try {
      const reply = once(socket, "message", { signal: AbortSignal.timeout(2_000) });
      socket.send(message, server.udpPort, "127.0.0.1");
      return decode((await reply)[0] as Buffer);
    } finally {
      socket.close();
    }
  }

  async function overTcp(...messages: Buffer[]): Promise<Packet[]> {
    const socket = connect(server.tcpPort, "127.0.0.1");
    const replies: Packet[] = [];
    let data = Buffer.alloc(0);
    for (const byte of Buffer.concat(messages)) socket.write(Buffer.of(byte)); // in the smallest pieces
    for await (const chunk of socket) {
      data = Buffer.concat([data, chunk as Buffer]);
      while (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) {
        const end = 2 + data.readUInt16BE(0);
        replies.push(streamDecode(data.subarray(0, end)));
        data = data.subarray(end);
      }
      if (replies.length === messages.length) break;
    }
    socket.destroy();
    return replies;
  }

  it("answers with the client's id and question, authoritatively", async () => {
    const reply = await overUdp(encode(query("web.demo.svc.cluster.local")));
    assert.equal(reply.id, 4711);
    assert.equal(reply.flag_aa, true);
    assert.deepEqual(
      reply.answers?.map((one) => ("data" in one ? one.data : "")),
      ["10.96.1.2"],
    );
  });

  it("says where an alias leads to, outside and in the cluster", async () => {
    const answersTo = async (name: string) =>
      (await overUdp(encode(query(name)))).answers?.map((one) => ("data" in one ? [one.type, one.name, one.data] : []));
    assert.deepEqual(await answersTo("pay.demo.svc.cluster.local"), [
      ["CNAME", "pay.demo.svc.cluster.local", "pay.example"],
      ["A", "pay.example", "198.51.100.9"],
    ]);
    assert.deepEqual(await answersTo("inner.demo.svc.cluster.local"), [
      ["CNAME", "inner.demo.svc.cluster.local", "web.demo.svc.cluster.local"],
      ["A", "web.demo.svc.cluster.local", "10.96.1.2"],
    ]);
  });

  it("says NXDOMAIN with the zone's SOA for what is not there, and no error for another type", async () => {
    const missing = await overUdp(encode(query("nothing.demo.svc.cluster.local")));
    assert.equal(rcode(missing), 3);
    assert.equal(missing.authorities?.[0]?.type, "SOA");
    const otherType = await overUdp(encode(query("web.demo.svc.cluster.local", "AAAA")));
    assert.deepEqual([rcode(otherType), otherType.answers?.length, otherType.authorities?.[0]?.type], [0, 0, "SOA"]);
  });

  it("cuts an answer that is too long for a datagram; it is whole with EDNS or over TCP", async () => {
    const question = query("many.demo.svc.cluster.local");
    const plain = await overUdp(encode(question));
    assert.equal(plain.flag_tc, true);
    const [whole] = await overTcp(streamEncode(question));
    assert.equal(whole?.answers?.length, MANY.length);
    const additionals: NonNullable<Packet["additionals"]> = [
      { type: "OPT", name: ".", udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] },
    ];
    const extended = await overUdp(encode({ ...question, additionals }));
    assert.equal(extended.additionals?.[0]?.type, "OPT");
  });

  it("answers several questions of one TCP connection, however they are cut", async () => {
    const replies = await overTcp(streamEncode(query("web.demo.svc.cluster.local")), streamEncode(query("www.example.org")));
    assert.deepEqual(replies.map(rcode), [0, 0]);
    assert.deepEqual(asked.slice(-1), ["www.example.org"]);
  });

  it("says SERVFAIL when nobody outside answers", async () => {
    assert.equal(rcode(await overUdp(encode(query("silent.example")))), 2);
  });

  it("survives what is no DNS message", async () => {
    const socket = createSocket("udp4");
    for (const bytes of [[], [0], [255, 255, 255], Array(12).fill(255), [...encode(query("a.b")).subarray(0, 14)]]) {
      await new Promise((resolve) => socket.send(Buffer.from(bytes), server.udpPort, "127.0.0.1", resolve));
    }
    socket.close();
    assert.equal(rcode(await overUdp(encode(query("web.demo.svc.cluster.local")))), 0);
  });
});
