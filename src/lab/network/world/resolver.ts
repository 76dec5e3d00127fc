import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { type Answer, decode, encode, type Packet, streamDecode, streamEncode } from "dns-packet";
import { worldIpv6 } from "../addresses.ts";

const TTL_SECONDS = 30;
const AUTHORITATIVE = 0x0400;
const NAME_ERROR = 3;

interface ResolverOptions {
  readonly names: ReadonlyMap<string, string>;
  readonly ipv6: boolean;
  readonly address: string;
  readonly port: number;
}

/** Answers A and AAAA questions about these names over UDP and TCP; any other name does not exist. */
export function startResolver(options: ResolverOptions): void {
  const datagrams = createSocket("udp4");
  datagrams.on("message", (message, peer) => {
    const reply = respond(message, options, decode, encode);
    if (reply) datagrams.send(reply, peer.port, peer.address);
  });
  datagrams.bind(options.port, options.address);
  createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (message) => {
      const reply = respond(message, options, streamDecode, streamEncode);
      if (reply) socket.write(reply);
      else socket.destroy();
    });
  }).listen(options.port, options.address);
}

function respond(
  message: Buffer,
  outside: ResolverOptions,
  read: (buffer: Buffer) => Packet | null,
  write: (packet: Packet) => Buffer,
): Buffer | undefined {
  try {
    const query = read(message);
    const question = query?.questions?.[0];
    if (!query || !question) return undefined;
    const address = outside.names.get(question.name.toLowerCase().replace(/\.$/, ""));
    const flags = AUTHORITATIVE | ((query.flags ?? 0) & 0x0100) | 0x0080 | (address === undefined ? NAME_ERROR : 0);
    return write({
      id: query.id ?? 0,
      type: "response",
      flags,
      questions: [question],
      answers: answersTo(question.name, question.type, address, outside.ipv6),
    });
  } catch {
    return undefined; // not a DNS message
  }
}

function answersTo(name: string, type: string, address: string | undefined, ipv6: boolean): Answer[] {
  if (address === undefined) return [];
  if (type === "A" || type === "ANY") return [{ type: "A", name, ttl: TTL_SECONDS, data: address }];
  if (type === "AAAA" && ipv6) return [{ type: "AAAA", name, ttl: TTL_SECONDS, data: worldIpv6(address) }];
  return [];
}
