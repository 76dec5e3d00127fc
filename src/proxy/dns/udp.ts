import type { Logger } from "#runtime/logger.ts";
import { type DatagramSet, openDatagramSet, type Received, sendAs } from "#sys/datagrams.ts";
import type { Netns } from "#sys/netns.ts";
import { closeFd, rawUdp, redirectedDatagram } from "#sys/socket.ts";
import { portOfEnd } from "./address.ts";
import type { DnsCounters } from "./counters.ts";
import type { Asked, Exchange } from "./exchange.ts";
import { createUpstream, FIRST_UPSTREAM_TAG, type Upstream, type UpstreamConfig } from "./upstream.ts";

export interface UdpConfig {
  readonly port: number;
  readonly ipv6: boolean;
  readonly upstream: UpstreamConfig;
  readonly netns?: Netns | undefined;
  /** Sockets of the proxy before us: what waits in them is ours to answer. */
  readonly inherited?: readonly number[] | undefined;
}

/** DNS by UDP: what the kernel redirects comes in by one socket a family, answers leave under the servers' addresses by a raw one. */
export interface UdpFrontend extends Disposable {
  /** The sockets that the kernel redirects to, for the proxy after us. */
  readonly listeners: readonly number[];
  readonly upstream: Pick<Upstream<Asked>, "calls" | "sockets">;
  /** Takes no more questions; what arrives waits for the next proxy. */
  stop(): void;
  sweep(): void;
}

const FAMILIES = [
  { family: 4, host: "0.0.0.0", tag: 4 },
  { family: 6, host: "::", tag: 6 },
] as const;

interface Deps {
  readonly log: Logger;
  readonly exchange: Exchange;
  readonly counters: DnsCounters;
  /** Questions that may be under way at a time; 0: `UpstreamConfig.maxCalls`. */
  readonly maxCalls: () => number;
}

/** Opens the sockets and serves. Throws `KernelError` (EADDRINUSE, EPERM). */
export function startUdp({ log, exchange, counters, maxCalls }: Deps, config: UdpConfig): UdpFrontend {
  using guard = new DisposableStack();
  const raw: Record<4 | 6, number> = { 4: -1, 6: -1 };
  const now = () => performance.now();
  const reply = (message: Buffer, server: Buffer, client: Buffer) => {
    sendAs(isIpv4(client) ? raw[4] : raw[6], message, server, client);
  };
  const set: DatagramSet = guard.use(
    openDatagramSet((received) => {
      try {
        if (received.tag < FIRST_UPSTREAM_TAG) onQuestion(received);
        else onAnswer(received);
      } catch (thrown) {
        // One datagram must not end the service of all.
        counters.malformed += 1;
        log.error("datagram dropped", { error: (thrown as Error).message });
      }
    }),
  );
  const onLost = (message: Buffer, asked: Asked) => reply(exchange.overloaded(message, asked), asked.server, asked.client);
  const upstream = guard.use(createUpstream<Asked>({ set, now, maxCalls, onLost }, config.upstream));

  const onQuestion = ({ errno, data, source, destination }: Received) => {
    if (errno !== 0 || portOfEnd(destination) === 0) return;
    const judged = exchange.judge(data, source, destination, "UDP");
    if (judged === undefined) return;
    if ("answer" in judged) reply(judged.answer, destination, source);
    else upstream.send(data, source, destination, judged.asked.identity, judged.asked);
  };
  const onAnswer = (received: Received) => {
    const call = received.errno === 0 ? upstream.find(received) : undefined;
    if (call === undefined) {
      counters.unasked += 1;
      return;
    }
    const id = received.data.readUInt16BE(0);
    const answer = exchange.answer(received.data, call.query, now() - call.started);
    if (answer === undefined) return;
    reply(answer, call.query.server, call.query.client);
    received.data.writeUInt16BE(id, 0);
    upstream.settle(received);
  };

  const families = FAMILIES.filter(({ family }) => family === 4 || config.ipv6);
  const listeners = families.map(({ family, host, tag }, i) => {
    raw[family] = rawUdp({ family, netns: config.netns });
    guard.defer(() => closeFd(raw[family]));
    const fd = config.inherited?.[i] ?? redirectedDatagram({ host, port: config.port, netns: config.netns });
    guard.defer(() => closeFd(fd));
    set.add(fd, tag);
    return fd;
  });
  const handles = guard.move();
  return {
    listeners,
    upstream,
    stop() {
      for (const fd of listeners) set.remove(fd);
    },
    sweep() {
      upstream.sweep(exchange.unanswered);
    },
    [Symbol.dispose]: () => handles.dispose(),
  };
}

function isIpv4(end: Buffer): boolean {
  return end.readUInt32BE(8) === 0xffff && end.readUInt32BE(0) === 0 && end.readUInt32BE(4) === 0;
}
