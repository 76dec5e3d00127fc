import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { connect } from "node:tls";
import { readClientHello } from "./client-hello.ts";

/** The first bytes of Node's own client. */
async function realHello(servername: string): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, servername });
  client.on("error", () => undefined);
  const [socket] = (await once(server, "connection")) as [Socket];
  const [hello] = (await once(socket, "data")) as [Buffer];
  for (const open of [socket, client]) open.destroy();
  server.close();
  return hello;
}

const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const vector = (size: 1 | 2, body: Buffer) => Buffer.concat([size === 1 ? Buffer.from([body.length]) : u16(body.length), body]);
const record = (body: Buffer) => Buffer.concat([Buffer.from([22, 3, 1]), vector(2, body)]);
const extension = (type: number, body: Buffer) => Buffer.concat([u16(type), vector(2, body)]);
const nameBody = (name: string, type = 0) => vector(2, Buffer.concat([Buffer.from([type]), vector(2, Buffer.from(name))]));
const sni = (name: string) => extension(0, nameBody(name));

function message(...extensions: readonly Buffer[]): Buffer {
  const body = Buffer.concat([
    ...[u16(0x0303), Buffer.alloc(32, 7), vector(1, Buffer.alloc(0)), vector(2, u16(0x1301)), vector(1, Buffer.from([0]))],
    vector(2, Buffer.concat(extensions)),
  ]);
  return Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
}
const hello = (...extensions: readonly Buffer[]) => record(message(...extensions));

describe("client hello", () => {
  it("reads the name of a real client, and waits for all of it, however it is cut", async () => {
    const real = await realHello("Shop.Example.org");
    assert.deepEqual(readClientHello(real), { serverName: "shop.example.org", protocols: [] });
    for (let end = 0; end < real.length; end++) assert.equal(readClientHello(real.subarray(0, end)), undefined, String(end));
  });

  it("reads a message that is spread over records, down to single bytes", () => {
    const whole = message(sni("a.example"));
    for (let cut = 1; cut < whole.length; cut++) {
      const input = Buffer.concat([record(whole.subarray(0, cut)), record(whole.subarray(cut))]);
      assert.deepEqual(readClientHello(input), { serverName: "a.example", protocols: [] });
    }
    const bytes = Buffer.concat([...whole].map((byte) => record(Buffer.from([byte]))));
    assert.deepEqual(readClientHello(bytes), { reason: "ClientHello in too many pieces" });
  });

  for (const [name, input, expected] of [
    ["no name", hello(extension(23, Buffer.alloc(0))), { serverName: undefined, protocols: [] }],
    [
      "a name outside what is encrypted",
      hello(sni("public.example"), extension(0xfe0d, Buffer.alloc(9))),
      { serverName: "public.example", protocols: [] },
    ],
    ["a final dot", hello(sni("a.example.")), { serverName: "a.example", protocols: [] }],
    ["two names", hello(extension(0, vector(2, Buffer.concat([nameBody("a").subarray(2), nameBody("b").subarray(2)])))), "bad server name"],
    ["the name extension twice", hello(sni("a.example"), sni("b.example")), "an extension comes twice"],
    ["a name of another type", hello(extension(0, nameBody("a", 1))), "bad server name"],
    ["an empty name", hello(sni("")), "bad server name"],
    ["NUL in a name", hello(sni("a.example\0.evil")), "bad server name"],
    ["a blank in a name", hello(sni("a b")), "bad server name"],
    ["an extension longer than its list", hello(Buffer.from([0, 0, 0, 200, 1])), "malformed ClientHello"],
    [
      "bytes behind the extensions",
      record(
        Buffer.concat([
          message(sni("a")).subarray(0, 2),
          u16(message(sni("a")).length - 4 + 1),
          message(sni("a")).subarray(4),
          Buffer.from([0]),
        ]),
      ),
      "malformed ClientHello",
    ],
    ["another message behind it", record(Buffer.concat([message(sni("a")), message(sni("b"))])), "more than a ClientHello"],
    ["a ServerHello", record(Buffer.from([2, 0, 0, 0])), "not a ClientHello"],
    ["an alert", Buffer.from([21, 3, 1, 0, 2, 1, 0]), "not TLS"],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n"), "not TLS"],
    ["SSL 2", Buffer.from([0x80, 0x2e, 1, 0, 2]), "not TLS"],
    ["an empty record", Buffer.from([22, 3, 1, 0, 0]), "bad TLS record"],
    ["a record too long", Buffer.from([22, 3, 1, 0xff, 0xff]), "bad TLS record"],
    ["a message too long", record(Buffer.concat([Buffer.from([1, 1, 0, 0]), Buffer.alloc(100)])), "ClientHello too long"],
  ] as const) {
    it(`sees ${name}`, () => {
      assert.deepEqual(readClientHello(input), typeof expected === "string" ? { reason: expected } : expected);
    });
  }
});
