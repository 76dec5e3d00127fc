import { DNS_PROXY_PORT } from "#proxy/dns/protocol.ts";
import { proxyFlags } from "#proxy/flags.ts";
import { numberedSockets, openSockets, type ProxySockets } from "#proxy/sockets.ts";
import { FIRST_FD, startSupervisor, WORKER_ENV, type WorkerMessage } from "#proxy/supervisor.ts";
import { type FlagValues, formatHelp, readFlags } from "#runtime/flags.ts";
import { createLogger } from "#runtime/logger.ts";
import { runProgram } from "#runtime/program.ts";
import { aborted } from "#runtime/scope.ts";

type Flags = FlagValues<typeof proxyFlags>;

/** Holds the sockets and keeps a worker serving; SIGHUP puts a new one in its place. */
async function supervise(flags: Flags, signal: AbortSignal): Promise<number> {
  const log = createLogger("proxy");
  const sockets = openSockets({
    ports: { ingress: flags["proxy-ingress-port"], egress: flags["proxy-egress-port"], dns: DNS_PROXY_PORT },
    ipv6: flags["enable-ipv6"],
  });
  const command = [process.execPath, ...process.execArgv, process.argv[1] ?? "", ...process.argv.slice(2)];
  const supervisor = startSupervisor({ log, sockets, command });
  process.on("SIGHUP", () => supervisor.upgrade());
  await aborted(signal);
  await supervisor.stop();
  return 0;
}

/** Loads the program, waits for its turn, serves until it is told to end or its supervisor is gone. */
async function work(flags: Flags, sockets: ProxySockets, signal: AbortSignal): Promise<number> {
  const log = createLogger("proxy");
  const { loadProxy } = await import("./proxy-worker.ts");
  const serveProxy = await loadProxy(flags, log);
  const say = (message: WorkerMessage) => process.send?.(message);
  const heard = (wanted: WorkerMessage) =>
    new Promise<void>((resolve) => {
      process.on("message", (message) => {
        if (message === wanted) resolve();
      });
    });
  // Another supervisor has other sockets: two would take each other's.
  process.on("disconnect", () => process.exit(1));
  const [turn, release] = [heard("go"), heard("release")];
  say("ready");
  await Promise.race([turn, aborted(signal)]);
  if (signal.aborted) return 0;
  await using proxy = await serveProxy(sockets);
  say("serving");
  await Promise.race([aborted(signal), release]);
  log.info("stopping, requests under way may finish");
  if (signal.aborted) return 0;
  await proxy.release();
  say("released");
  return 0;
}

runProgram("cilium-proxy", async (signal) => {
  if (process.argv.includes("--help")) {
    process.stdout.write(formatHelp("cilium-proxy", "Decides HTTP and DNS policy on what the kernel redirects.", proxyFlags));
    return 0;
  }
  const flags = readFlags(proxyFlags);
  const count = Number(process.env[WORKER_ENV] ?? 0);
  return count > 0 ? work(flags, numberedSockets(FIRST_FD, count), signal) : supervise(flags, signal);
});
