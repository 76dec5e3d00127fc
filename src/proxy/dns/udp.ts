import type { Logger } from "#runtime/logger.ts";
import { type DatagramSet, openDatagramSet, type Received, sendAs } from "#sys/datagrams.ts";
import type { Netns } from "#sys/netns.ts";
import { closeFd, droppedDatagrams, rawUdp } from "#sys/socket.ts";
import { DNS_SOCKETS, openDnsDatagrams } from "../sockets.ts";
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

/** DNS by UDP: what the kernel redirects comes in by some sockets a family, read in turn, so that each pod has its share; answers leave under the servers' addresses by a raw one. */
export interface UdpFrontend extends Disposable {
  /** The sockets that the kernel redirects to, for the proxy after us. */
  readonly listeners: readonly number[];
  readonly upstream: Pick<Upstream<Asked>, "calls" | "sockets">;
  /** Takes no more questions; what arrives waits for the next proxy. */
  stop(): void;
  sweep(): void;
  /** Questions for which there was no room in the sockets, since they were opened: of pods that ask for more than is answered. */
  shed(): number;
}

const FAMILIES = [
  { family: 4, host: "0.0.0.0" },
  { family: 6, host: "::" },
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
  for (const { family } of families) {
    raw[family] = rawUdp({ family, netns: config.netns });
    guard.defer(() => closeFd(raw[family]));
  }
  const places = families.flatMap(({ host }) =>
    Array.from({ length: DNS_SOCKETS }, () => ({ host, port: config.port, netns: config.netns })),
  );
  const listeners = places.map((place, tag) => {
    const fd = config.inherited?.[tag] ?? openDnsDatagrams(place);
    guard.defer(() => closeFd(fd));
    set.add(fd, tag);
    return fd;
  });
  const shed = watchShed(listeners, log);
  const handles = guard.move();
  return {
    listeners,
    upstream,
    stop() {
      for (const fd of listeners) set.remove(fd);
    },
    shed: shed.total,
    sweep() {
      upstream.sweep(exchange.unanswered);
      shed.report();
    },
    [Symbol.dispose]: () => handles.dispose(),
  };
}

function isIpv4(end: Buffer): boolean {
  return end.readUInt32BE(8) === 0xffff && end.readUInt32BE(0) === 0 && end.readUInt32BE(4) === 0;
}

const REPORT_EVERY_MS = 60_000;

/** Counts what the sockets had no room for, and says so, once a minute as long as it goes on. */
function watchShed(listeners: readonly number[], log: Logger): { total(): number; report(): void } {
  const total = () => listeners.reduce((sum, fd) => sum + droppedDatagrams(fd), 0);
  let known = total();
  let reported = -Infinity;
  return {
    total,
    report() {
      const now = performance.now();
      if (now - reported < REPORT_EVERY_MS) return;
      const seen = total();
      if (seen > known) {
        log.warn("questions are dropped: a pod asks for more than is answered", { questions: seen - known });
        [known, reported] = [seen, now];
      }
    },
  };
}
