import { setTimeout as wait } from "node:timers/promises";
import { DNS_PROXY_PORT } from "#proxy/dns/protocol.ts";
import { proxyFlags } from "#proxy/flags.ts";
import { openSockets, type SocketsConfig, sortSockets } from "#proxy/sockets.ts";
import { takePlace } from "#proxy/succession.ts";
import { type FlagValues, formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";

type Flags = FlagValues<typeof proxyFlags>;

function socketsOf(flags: Flags): SocketsConfig {
  const { "proxy-ingress-port": ingress, "proxy-egress-port": egress, "proxy-prometheus-port": metrics } = flags;
  return { ports: { ingress, egress, metrics, dnsDatagrams: DNS_PROXY_PORT, dnsStreams: DNS_PROXY_PORT }, ipv6: flags["enable-ipv6"] };
}

/**
 * Prepares all there is to prepare and waits for its turn, in which it serves. At the end of it another proxy goes on, whom it waits for if there is none yet, while it
 * finishes what it has begun.
 */
async function takeTurn(flags: Flags, signal: AbortSignal): Promise<number> {
  const log = createLogger("proxy");
  const config = socketsOf(flags);
  const place = await takePlace({ path: `${flags["proxy-socket-path"]}.next`, open: (held) => openSockets(config, held), signal });
  const { prepareProxy } = await import("./proxy-build.ts");
  const serve = await prepareProxy(flags, log, sortSockets(config, place.sockets));
  place.ready();
  log.info("prepared and waiting for its turn");
  const turn = await place.turn;
  if (turn === undefined) return 0;
  await using proxy = await serve();
  await aborted(signal);
  await Promise.race([turn.successor(), wait(flags["proxy-handover-timeout"])]);
  log.info("stopping, requests under way may finish");
  await proxy.release();
  await turn[Symbol.asyncDispose]();
  return 0;
}

async function main(signal: AbortSignal): Promise<number> {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("cilium-proxy", "Decides HTTP and DNS policy on what the kernel redirects.", proxyFlags));
    return 0;
  }
  return await takeTurn(readFlags(proxyFlags), signal);
}

/** Kubelet ends it after the pod's grace period, which is to be as long as the two settings of time together. */
const FORCED_EXIT_MS = 600_000;

runProgram("cilium-proxy", main, { forcedExitMs: FORCED_EXIT_MS });
