import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Netns } from "#sys/netns.ts";
import { datagram } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { ask, dial } from "./nodes.ts";

/** How long anything may take that is to happen at all. */
const PATIENCE_MS = 20_000;
const RESEND_MS = 400;

/** Who answered, and whom it saw. */
export interface Answer {
  readonly server: string;
  readonly client: string;
}

function read(text: string): Answer {
  const [, server, client] = /^([a-z]+)>(?:::ffff:)?([^>]*)>/.exec(text) ?? [];
  if (server === undefined || client === undefined) throw new Error(`no answer of a server: ${text}`);
  return { server, client };
}

/** A UDP server in a namespace that answers each datagram with `<name>><peer>>` and the datagram. */
export async function answerDatagrams(netns: Netns, name: string, host: string, port: number): Promise<AsyncDisposable> {
  const server = createSocket(isIPv6(host) ? "udp6" : "udp4");
  server.on("message", (message, from) => {
    server.send(Buffer.concat([Buffer.from(`${name}>${from.address}>`), message]), from.port, from.address);
  });
  server.on("error", () => undefined);
  await new Promise<void>((resolve) => server.bind({ fd: datagram({ host, port, netns }) }, resolve));
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(resolve)) };
}

/** Resolves when `count` goes up because of the call, which is then given up; rejects when the call is answered. */
export async function isCounted(call: (signal: AbortSignal) => Promise<Answer>, count: () => number): Promise<void> {
  const given = new AbortController();
  const before = count();
  const outcome = call(given.signal).then(
    ({ server }) => Promise.reject(new Error(`answered by ${server}`)),
    (error: Error) => (given.signal.aborted ? undefined : Promise.reject(error)),
  );
  while (count() === before) await Promise.race([outcome, sleep(2)]);
  given.abort();
  await outcome;
}

/** A TCP connection to a service, one question. Rejects with what the network said. */
export async function callTcp(netns: Netns, address: IpAddress, port: number, signal?: AbortSignal): Promise<Answer> {
  const socket = await dial(netns, address, port, PATIENCE_MS, signal);
  try {
    if (socket.remoteAddress !== address) throw new Error(`the socket's peer is ${socket.remoteAddress}, not the service`);
    return read((await ask(socket, "hello", PATIENCE_MS)).replace(/^([a-z]+):(.*):hello$/, "$1>$2>"));
  } finally {
    socket.destroy();
  }
}

export interface UdpCall {
  /** Whether the socket is connected; it is when nothing is said. */
  readonly connected?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * A datagram of `size` bytes to a service, and its whole answer. It is sent again while there is none: the first may be too long for the way.
 * Rejects with what the network says, and when the answer comes from anyone but the service.
 */
export function callUdp(netns: Netns, address: IpAddress, port: number, size: number, more: UdpCall = {}): Promise<Answer> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  const text = Buffer.alloc(size, "x");
  const { connected = true, signal } = more;
  return new Promise<Answer>((resolve, reject) => {
    const send = () => (connected ? socket.send(text, onSent) : socket.send(text, port, address, onSent));
    const timers = [setInterval(send, RESEND_MS), setTimeout(() => reject(new Error("timeout")), PATIENCE_MS)];
    const onSent = (error: Error | null) => error && (error as NodeJS.ErrnoException).code !== "EMSGSIZE" && reject(error);
    socket.on("error", (error) => (error as NodeJS.ErrnoException).code === "EMSGSIZE" || reject(error));
    signal?.addEventListener("abort", () => reject(new Error("aborted")));
    socket.on("close", () => timers.forEach(clearTimeout));
    socket.on("message", (message, from) => {
      const answer = message.toString();
      if (from.address !== address || from.port !== port)
        reject(new Error(`answered from ${from.address}:${from.port}, not from the service`));
      else if (!answer.endsWith(`>${text}`)) reject(new Error(`answered ${message.length} bytes to ${size}`));
      else resolve(read(answer));
    });
    socket.bind({ fd: datagram({ host: isIPv6(address) ? "::" : "0.0.0.0", port: 0, netns }) }, () => {
      if (connected) socket.connect(port, address, (error?: Error) => (error ? reject(error) : send()));
      else send();
    });
  }).finally(() => socket.close());
}
