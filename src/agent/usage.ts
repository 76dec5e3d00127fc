import { collectConntrack, purgeConntrack, type SweepResult, visitConntrack } from "#datapath/conntrack.ts";
import type { CookieOrigin } from "#datapath/cookies.ts";
import { UsageOutcome } from "#datapath/gen/enums.ts";
import type { CtEntry } from "#datapath/gen/structs.ts";
import type { DatapathMaps } from "#datapath/loader.ts";
import { type Decided, forgetUsage, settledUsage, settleUsage, unsettledUsage } from "#datapath/usage.ts";
import type { PolicyUsage } from "#k8s/types.ts";
import { policyKey, type RuleRef } from "#policy/rule.ts";
import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { AccessRecord, RuleOrigin } from "#proxy/protocol.ts";
import type { Logger } from "#runtime/logger.ts";
import { monotonicNs } from "#sys/clock.ts";
import type { IpAddress } from "#types/addr.ts";
import type { AgentState } from "./state.ts";
import { type RuleUsage, usageRows, usageSummary } from "./usage-view.ts";

/** How long a number of rules is kept after its last use: events that name it may still be read. */
const GRACE_MS = 5 * 60_000;

export interface Usage {
  /** What each rule has decided on this node, live connections included. */
  rows(): Promise<RuleUsage[]>;
  /** What each policy has decided; without what live connections have carried since they were last reported on. */
  summary(): Record<string, PolicyUsage>;
  /** Deletes the connections that ended, keeps their counts, and forgets numbers of rules that are gone. */
  collect(): Promise<void>;
  /** What the last sweep of `collect` found, and how many there were. */
  readonly lastSweep: SweepResult & { readonly runs: number };
  /** Deletes all connections of an address. */
  purge(address: IpAddress): Promise<void>;
  /** Counts a request that the proxy judged. */
  readonly access: (message: AccessRecord | DnsAccessMessage) => void;
  /** Puts the requests counted so far, and the names of their rules, where they outlive this process. */
  flush(): void;
}

export interface UsageDeps {
  readonly log: Logger;
  readonly maps: Pick<DatapathMaps, "conntrack" | "usage" | "settled">;
  readonly state: AgentState;
  /** The cookies that packets can meet; undefined while policies are not yet computed. */
  readonly inUse: () => ReadonlySet<number> | undefined;
}

const OUTCOMES = { FORWARDED: UsageOutcome.ALLOWED, DROPPED: UsageOutcome.DENIED, AUDIT: UsageOutcome.AUDITED } as const;
const NANOSECONDS = 1_000_000_000n;

/** Counts of rules: the datapath's, those of collected connections, and requests. All of them are pinned and outlive the agent. */
export function createUsage({ log, maps, state, inUse }: UsageDeps): Usage {
  const { cookies, rememberedCookies, controller } = state;
  const requests = new Map<string, Decided>();
  const lastSweep = { alive: 0, deleted: 0, runs: 0 };
  const flush = () => {
    const counted = [...requests.values()];
    requests.clear();
    // First, for a count whose rules nobody can name is forgotten.
    rememberedCookies.add(counted.map(({ cookie }) => cookie));
    settleUsage(maps, counted);
  };
  const settleEntry = (entry: CtEntry) =>
    settleUsage(
      maps,
      unsettledUsage(entry).map((one) => ({ ...one, last: lastReport(entry) })),
    );
  const exists = (origin: CookieOrigin) => {
    const policy = controller.repository.policies.get(policyKey(origin));
    return policy !== undefined && (!("section" in origin) || policy.rules.some((rule) => isSameRule(rule.origin, origin)));
  };
  const view = () => {
    const [now, wall] = [monotonicNs(), Date.now()];
    return {
      repository: controller.repository,
      endpoints: [...state.endpoints.list()].map((row) =>
        [controller.policyOf(row), controller.auditedPolicyOf(row)].filter((policy) => policy !== undefined),
      ),
      origins: (cookie: number) => cookies.origins(cookie),
      toTime: (at: bigint) => new Date(wall - Number((now - at) / 1_000_000n)).toISOString(),
    };
  };
  return {
    lastSweep,
    flush,
    async rows() {
      flush();
      const decided: Decided[] = [];
      await visitConntrack(maps.conntrack, (entry) => {
        for (const one of unsettledUsage(entry)) decided.push({ ...one, last: lastReport(entry) });
      });
      decided.push(...settledUsage(maps));
      const created = (key: string) => state.policies.table.get(key)?.object.metadata.creationTimestamp ?? "";
      return usageRows({ ...view(), cache: controller.cache, created, decided });
    },
    summary() {
      flush();
      return usageSummary({ ...view(), decided: settledUsage(maps) });
    },
    async collect() {
      const live = new Set<number>();
      const onAlive = ({ egress, ingress }: CtEntry) => {
        for (const cookie of [egress.cookie, egress.auditCookie, ingress.cookie, ingress.auditCookie]) live.add(cookie);
      };
      const nowSeconds = () => Number(monotonicNs() / NANOSECONDS);
      const swept = await collectConntrack(maps.conntrack, nowSeconds, { onAlive, onDeleted: settleEntry });
      Object.assign(lastSweep, swept, { runs: lastSweep.runs + 1 });
      flush();
      const realized = inUse();
      if (realized === undefined) return;
      const counted = new Set([...settledUsage(maps)].map(({ cookie }) => cookie));
      const isUsed = (cookie: number) =>
        realized.has(cookie) || live.has(cookie) || (counted.has(cookie) && cookies.origins(cookie).every(exists));
      cookies.collect(isUsed, performance.now(), GRACE_MS);
      const isKnown = (cookie: number) => cookies.origins(cookie).length > 0;
      const forgotten = forgetUsage(maps, (cookie) => cookie === 0 || isKnown(cookie));
      rememberedCookies.keepOnly(counted.values().filter(isKnown));
      log.debug("connections collected", { ...swept, cookies: cookies.size, forgotten });
    },
    async purge(address) {
      await purgeConntrack(maps.conntrack, new Set([address]), { onDeleted: settleEntry });
    },
    access({ kind, direction, verdict, origins, denied }) {
      if (kind !== "request" || verdict === "ERROR") return;
      const outcome = OUTCOMES[verdict];
      // A denied request counts where its author would mend it: for the rule that came nearest, the first of equals.
      const deciding = verdict === "FORWARDED" ? origins : (denied?.nearest[0]?.origins ?? denied?.origins);
      const cookie = cookies.of((deciding ?? []).flatMap(ruleOf));
      const key = `${cookie} ${direction} ${outcome}`;
      const packets = (requests.get(key)?.packets ?? 0n) + 1n;
      requests.set(key, { cookie, egress: direction === "egress", outcome, layer: 7, packets, bytes: 0n, last: monotonicNs() });
    },
  };
}

/** When the connection was last reported on: at most the reporting interval before its last packet. */
function lastReport({ txReported, rxReported }: CtEntry): bigint {
  return BigInt(Math.max(txReported, rxReported)) * NANOSECONDS;
}

function isSameRule(a: RuleRef, b: RuleRef): boolean {
  return a.section === b.section && a.index === b.index && a.spec === b.spec;
}

function ruleOf({ kind, namespace = "", name, section, index, spec = 0 }: RuleOrigin): RuleRef[] {
  if (section === undefined || index === undefined) return [];
  return [{ kind, namespace, name, section: section as RuleRef["section"], index, spec }];
}
