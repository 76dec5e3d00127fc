import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import type { Logger } from "#runtime/logger.ts";
import { writeWhole } from "#runtime/whole-file.ts";
import type { Netns } from "#sys/netns.ts";
import type { AccessStream } from "../control/access-stream.ts";
import type { AgentHandler } from "../control/policy-server.ts";
import { createLearnedNames } from "../peer.ts";
import type { ProxyMessage } from "../protocol.ts";
import type { ProxySockets } from "../sockets.ts";
import { createDnsCounters, type DnsCounters } from "./counters.ts";
import { createExchange } from "./exchange.ts";
import type { GrantMap } from "./grants.ts";
import { openJournal, readJournal } from "./journal.ts";
import type { FindLive } from "./live-connections.ts";
import { type NameCounts, Names } from "./names.ts";
import { parseDnsPolicy } from "./parse-policy.ts";
import { compileDnsPolicy } from "./policy-table.ts";
import { DNS_PROXY_PORT, type DnsCacheEntry, type DnsPolicyMessage } from "./protocol.ts";
import { DEFAULT_TCP_CONFIG, startTcp } from "./tcp.ts";
import { startUdp } from "./udp.ts";
import { DEFAULT_UPSTREAM_CONFIG } from "./upstream.ts";

export interface DnsProxyDeps {
  readonly log: Logger;
  readonly records: AccessStream;
  readonly identityOf: (ip: string) => number;
  readonly grants: GrantMap;
  readonly findLive: FindLive;
  /** Seconds of the monotonic clock. */
  readonly now: () => number;
}

export interface DnsProxyConfig {
  readonly port: number;
  readonly ipv6: boolean;
  /** Where the policy and the learned names are kept over restarts. */
  readonly statePath: string;
  readonly cachePath: string;
  /** How often expired names are looked for, and how often connections that still use them. */
  readonly sweepMs: number;
  readonly collectMs: number;
  readonly netns?: Netns | undefined;
  /** Sockets that are open already; own ones are opened when absent. */
  readonly sockets?: Pick<ProxySockets, "dnsDatagrams" | "dnsStreams"> | undefined;
  /** At the end, answers that are under way are waited for until none has come for so long: what is left then is of servers that do not answer. */
  readonly drainMs: number;
}

export const DEFAULT_DNS_PROXY_CONFIG = { port: DNS_PROXY_PORT, sweepMs: 1000, collectMs: 10_000, drainMs: 1000 } as const;

export interface DnsStatus extends NameCounts {
  readonly revision: number;
  readonly endpoints: number;
  readonly calls: number;
  readonly sockets: number;
  readonly connections: number;
  /** Questions by UDP for which there was no room. */
  readonly shed: number;
  readonly evictions: number;
  readonly expired: number;
}

/** DNS of the node's endpoints that have rules for it. */
export interface DnsProxy extends AsyncDisposable {
  readonly counters: DnsCounters;
  /** What the agent may say to it, by the message's type. */
  readonly handlers: Readonly<Record<string, AgentHandler>>;
  status(): DnsStatus;
  countsByEndpoint(): Iterable<readonly [endpointId: number, counts: NameCounts]>;
}

/** Restores policy and names, then serves with them until the agent sends others. Rejects when the sockets cannot be opened. */
export async function startDnsProxy(deps: DnsProxyDeps, config: DnsProxyConfig): Promise<DnsProxy> {
  const { log, grants } = deps;
  await using scope = new AsyncDisposableStack();
  const counters = createDnsCounters();
  const saved = loadPolicy(config.statePath, log);
  let table = compileDnsPolicy(saved);
  let journal: ReturnType<typeof openJournal> | undefined;
  const names = new Names({ ...deps, journal: (line) => journal?.append(line) });
  const apply = (policy: DnsPolicyMessage) => {
    table = compileDnsPolicy(policy);
    names.setPolicy(policy);
  };
  if (saved) tryTo("cannot restore learned names", log, () => apply(saved));
  let ended = false;
  scope.defer(() => {
    ended = true;
    journal?.[Symbol.dispose]();
  });
  const { identityOf, now } = deps;
  const learned = createLearnedNames(grants, now);
  const record = deps.records.push;
  const exchange = createExchange({ log, names, identityOf, learned, record, counters, policy: () => table });
  const { port, ipv6, netns, sockets } = config;
  const udp = scope.use(
    startUdp(
      { log, exchange, counters, maxCalls: () => names.settings.maxCalls },
      { port, ipv6, netns, inherited: sockets?.dnsDatagrams, upstream: { ...DEFAULT_UPSTREAM_CONFIG, netns } },
    ),
  );
  const tcp = scope.use(
    await startTcp({ exchange, counters }, { ...DEFAULT_TCP_CONFIG, port, ipv6, netns, inherited: sockets?.dnsStreams }),
  );
  const report = (problem: string) => log.error("learned names are not saved", { path: config.cachePath, problem });
  const restore = async () => {
    names.adopt(await readJournal(config.cachePath));
    if (ended) return;
    tryTo("learned names are not saved", log, () => {
      journal = openJournal(config.cachePath, { lines: () => names.lines(), report });
    });
  };
  // What waits in the sockets is answered first.
  void restore();
  const every = (ms: number, run: () => void) => {
    const timer = setInterval(run, ms).unref();
    scope.defer(() => clearInterval(timer));
  };
  every(config.sweepMs, () => {
    udp.sweep();
    tryTo("cannot forget expired names", log, () => names.sweep());
  });
  every(config.collectMs, () => {
    names.collect().catch((thrown: unknown) => log.warn("expired addresses stay: connections cannot be read", { error: String(thrown) }));
  });
  const take = (policy: DnsPolicyMessage) => {
    tryTo("cannot open the map of learned addresses", log, () => grants.refresh());
    apply(policy);
    log.info("DNS policy in force", { revision: policy.revision, endpoints: policy.endpoints.length });
    writeWhole(config.statePath, JSON.stringify(policy));
  };
  // Disposed first: what has been asked is answered, what comes now is the next proxy's.
  scope.defer(async () => {
    udp.stop();
    tcp.stop();
    await drain({ calls: () => udp.upstream.calls + tcp.calls, answered: () => counters.answered }, config.drainMs);
  });
  const running = scope.move();
  return {
    counters,
    handlers: {
      "dns-policy": (message, send) => takePolicy(message, take, send, log),
      "dns-cache": (_message, send) => void names.restored.then(() => sendEntries([...names.entries()], send)),
      "dns-clean": (message, send) => void names.restored.then(() => sendEntries(cleanNames(names, message), send)),
    },
    status: () => ({
      ...names.counts(),
      revision: table.revision,
      endpoints: table.endpoints.length,
      calls: udp.upstream.calls,
      sockets: udp.upstream.sockets,
      connections: tcp.connections,
      shed: udp.shed(),
      evictions: names.evictions,
      expired: names.expired,
    }),
    countsByEndpoint: () => names.countsByEndpoint(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const DRAIN_POLL_MS = 5;

async function drain(
  { calls, answered }: { readonly calls: () => number; readonly answered: () => number },
  patienceMs: number,
): Promise<void> {
  let [seen, since] = [answered(), performance.now()];
  while (calls() > 0 && performance.now() - since < patienceMs) {
    await wait(DRAIN_POLL_MS);
    if (answered() !== seen) [seen, since] = [answered(), performance.now()];
  }
}

function tryTo(problem: string, log: Logger, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    log.error(problem, { error: (thrown as Error).message });
  }
}

function loadPolicy(path: string, log: Logger): DnsPolicyMessage | undefined {
  try {
    const parsed = parseDnsPolicy(JSON.parse(readFileSync(path, "utf8")));
    if ("policy" in parsed) {
      log.info("DNS policy restored", { revision: parsed.policy.revision, endpoints: parsed.policy.endpoints.length });
      return parsed.policy;
    }
    log.error("saved DNS policy cannot be used, nobody may ask until the agent sends one", { path, issues: parsed.issues });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") log.error("saved DNS policy cannot be read", { path, error: String(thrown) });
  }
  return undefined;
}

function takePolicy(
  message: { readonly type: string; readonly revision?: unknown },
  take: (policy: DnsPolicyMessage) => void,
  send: (answer: ProxyMessage) => void,
  log: Logger,
): void {
  const revision = typeof message.revision === "number" ? message.revision : null;
  const parsed = parseDnsPolicy(message);
  if ("issues" in parsed) {
    log.warn("DNS policy refused", { revision, issues: parsed.issues });
    send({ type: "nack", revision, issues: parsed.issues });
    return;
  }
  try {
    take(parsed.policy);
    send({ type: "ack", revision: parsed.policy.revision });
  } catch (thrown) {
    log.error("DNS policy is not wholly in force, or not saved", { revision, error: (thrown as Error).message });
    send({ type: "nack", revision, issues: [{ path: "", message: (thrown as Error).message }] });
  }
}

function cleanNames(names: Names, { matchPattern }: { readonly type: string; readonly matchPattern?: unknown }): readonly DnsCacheEntry[] {
  return names.clean(typeof matchPattern === "string" && matchPattern !== "" ? matchPattern : undefined);
}

const ENTRIES_A_MESSAGE = 500;

function sendEntries(entries: readonly DnsCacheEntry[], send: (answer: ProxyMessage) => void): void {
  for (let i = 0; i === 0 || i < entries.length; i += ENTRIES_A_MESSAGE) {
    const last = i + ENTRIES_A_MESSAGE >= entries.length;
    send({ type: "dns-cache", entries: entries.slice(i, i + ENTRIES_A_MESSAGE), last });
  }
}
