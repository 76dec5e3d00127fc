import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type Answer, decode, encode, type Packet, type Question, streamDecode, streamEncode } from "dns-packet";
import type { Forward } from "./forward.ts";
import type { Zone } from "./zone.ts";

export interface DnsServerOptions {
  readonly zone: Zone;
  readonly domain: string;
  readonly port: number;
  /** Asks the outside; the answer's bytes, or undefined when nobody answered. */
  readonly forward: Forward;
}

const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
const SERVER_FAILURE = 2;
const NAME_ERROR = 3;
const PLAIN_UDP_BYTES = 512;
const MOST_UDP_BYTES = 1232; // what passes every path unfragmented (DNS flag day 2020)

export interface DnsServer extends AsyncDisposable {
  readonly udpPort: number;
  readonly tcpPort: number;
}

/** Serves DNS on UDP and TCP, all addresses. Malformed messages are dropped. Rejects when the port is taken. */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const datagrams = createSocket({ type: "udp6" });
  datagrams.on("message", (message, peer) => {
    // A client that has gone gets no answer; that is its own affair.
    const send = (reply: Buffer) => datagrams.send(reply, peer.port, peer.address, () => undefined);
    void answerDatagram(options, message, send);
  });
  const streams = createServer((socket) => serveStream(options, socket));
  datagrams.bind(options.port, "::");
  streams.listen(options.port, "::");
  await Promise.all([once(datagrams, "listening"), once(streams, "listening")]);
  return {
    udpPort: datagrams.address().port,
    tcpPort: (streams.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      datagrams.close();
      await new Promise((resolve) => streams.close(resolve));
    },
  };
}

async function answerDatagram(options: DnsServerOptions, message: Buffer, send: (reply: Buffer) => void): Promise<void> {
  const query = parse(message);
  if (!query) return;
  const reply = await answer(options, query, message);
  if (Buffer.isBuffer(reply)) send(reply);
  else if (reply) send(fit(query, reply));
}

// An answer that is too long for the client's datagrams goes without records; the client comes back by TCP.
function fit(query: Packet, reply: Packet): Buffer {
  const limit = Math.min(MOST_UDP_BYTES, Math.max(PLAIN_UDP_BYTES, udpSizeOf(query)));
  const bytes = encode(reply);
  return bytes.length <= limit ? bytes : encode({ ...reply, flags: (reply.flags ?? 0) | TRUNCATED, answers: [] });
}

function udpSizeOf(query: Packet): number {
  const option = query.additionals?.find((record) => record.type === "OPT");
  return option?.type === "OPT" ? option.udpPayloadSize : 0;
}

function serveStream(options: DnsServerOptions, socket: Socket): void {
  let waiting = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.setTimeout(10_000, () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    waiting = Buffer.concat([waiting, chunk]);
    while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
      const end = 2 + waiting.readUInt16BE(0);
      const message = waiting.subarray(0, end);
      waiting = waiting.subarray(end);
      void answerStream(options, message, socket);
    }
  });
}

async function answerStream(options: DnsServerOptions, message: Buffer, socket: Socket): Promise<void> {
  const query = parse(message.subarray(2));
  if (!query) {
    socket.destroy();
    return;
  }
  const reply = await answer(options, query, message.subarray(2));
  if (!socket.writable || !reply) return;
  if (!Buffer.isBuffer(reply)) socket.write(streamEncode(reply));
  else socket.write(streamEncode(streamDecode(withLength(reply))));
}

function withLength(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

function parse(message: Buffer): Packet | undefined {
  try {
    const query = decode(message);
    return query.type === "query" && query.questions?.[0] ? query : undefined;
  } catch {
    return undefined;
  }
}

async function answer(options: DnsServerOptions, query: Packet, message: Buffer): Promise<Packet | Buffer | undefined> {
  const question = query.questions?.[0];
  if (!question) return undefined;
  const found = options.zone.resolve(question);
  if (!found) return (await options.forward(message)) ?? respond(query, question, [], SERVER_FAILURE);
  const answers = await follow(options, question, found.answers);
  const reply = respond(query, question, answers, AUTHORITATIVE | (found.exists ? 0 : NAME_ERROR));
  return found.answers.length > 0 ? reply : { ...reply, authorities: [startOfAuthority(options.domain)] };
}

/** What an alias (a service of type ExternalName) leads to is part of the answer: clients do not ask again. */
async function follow(options: DnsServerOptions, question: Question, answers: readonly Answer[]): Promise<readonly Answer[]> {
  const [alias] = answers;
  if (alias?.type !== "CNAME" || question.type === "CNAME") return answers;
  const target = { ...question, name: alias.data };
  const own = options.zone.resolve(target)?.answers;
  if (own) return [...answers, ...own];
  const reply = await options.forward(encode({ type: "query", id: randomInt(0x10000), flags: RECURSION_DESIRED, questions: [target] }));
  return [...answers, ...((reply && decode(reply).answers) ?? [])];
}

function respond(query: Packet, question: Question, answers: readonly Answer[], flags: number): Packet {
  const asked = (query.flags ?? 0) & RECURSION_DESIRED;
  const extended = query.additionals?.some((record) => record.type === "OPT");
  return {
    id: query.id ?? 0,
    type: "response",
    flags: flags | asked | RECURSION_AVAILABLE,
    questions: [question],
    answers: [...answers],
    ...(extended
      ? {
          additionals: [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: MOST_UDP_BYTES,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
        }
      : {}),
  };
}

// How long resolvers may remember that a name is not there: the last number, as CoreDNS has it.
function startOfAuthority(domain: string): Answer {
  const data = {
    mname: `ns.dns.${domain}`,
    rname: `hostmaster.${domain}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: 5,
  };
  return { type: "SOA", name: domain, ttl: 5, data };
}
