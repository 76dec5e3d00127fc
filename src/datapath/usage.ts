import { UsageOutcome } from "#datapath/gen/enums.ts";
import type { CtEntry, UsageKey, UsageValue } from "#datapath/gen/structs.ts";
import type { BpfMap, PerCpuMap } from "#ebpf/bpf.ts";

/** Something that rules have decided: packets and bytes, or requests. */
export interface Decided {
  readonly cookie: number;
  readonly egress: boolean;
  readonly outcome: UsageOutcome;
  /** 4: packets; 7: requests that the proxy judged. */
  readonly layer: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Nanoseconds of the monotonic clock. */
  readonly last: bigint;
}

export interface UsageMaps {
  /** cilium_policy_usage: the datapath's own counts. */
  readonly usage: PerCpuMap<UsageKey, UsageValue>;
  /** cilium_policy_settled: ours. */
  readonly settled: BpfMap<UsageKey, UsageValue>;
}

const UNCOUNTED = 256;

/** What a connection has carried and the datapath has not added up yet, for each rule that counts it. */
export function unsettledUsage(entry: CtEntry): Omit<Decided, "last">[] {
  const packets = BigInt.asUintN(64, entry.txPackets + entry.rxPackets - entry.countedPackets);
  const bytes = BigInt.asUintN(64, entry.txBytes + entry.rxBytes - entry.countedBytes);
  if (packets === 0n || entry.flags & UNCOUNTED) return [];
  const { egress, ingress } = entry;
  const sides = [
    { cookie: egress.cookie, egress: true, outcome: UsageOutcome.ALLOWED },
    { cookie: egress.auditCookie, egress: true, outcome: UsageOutcome.AUDITED },
    { cookie: ingress.cookie, egress: false, outcome: UsageOutcome.ALLOWED },
    { cookie: ingress.auditCookie, egress: false, outcome: UsageOutcome.AUDITED },
  ];
  return sides.filter(({ cookie }) => cookie !== 0).map((side) => ({ ...side, layer: 4, packets, bytes }));
}

/** Adds to the agent's part of the counts. */
export function settleUsage(maps: UsageMaps, decided: Iterable<Decided>): void {
  for (const { cookie, egress, outcome, layer, packets, bytes, last } of decided) {
    const key = { cookie, egress: egress ? 1 : 0, outcome, layer };
    const old = maps.settled.get(key) ?? { packets: 0n, bytes: 0n, last: 0n };
    maps.settled.set(key, {
      packets: old.packets + packets,
      bytes: old.bytes + bytes,
      last: last > old.last ? last : old.last,
    });
  }
}

/** All that has been added up, one row a key and map. */
export function* settledUsage(maps: UsageMaps): Generator<Decided> {
  const row = (key: UsageKey, value: UsageValue): Decided => ({
    ...key,
    ...value,
    egress: key.egress === 1,
    outcome: key.outcome as UsageOutcome,
  });
  for (const [key, values] of maps.usage.entries()) for (const value of values) if (value.packets > 0n) yield row(key, value);
  for (const [key, value] of maps.settled.entries()) yield row(key, value);
}

/** Deletes the counts of numbers that nobody knows any more; gives how many. */
export function forgetUsage(maps: UsageMaps, isKnown: (cookie: number) => boolean): number {
  let forgotten = 0;
  for (const map of [maps.usage, maps.settled]) {
    for (const [key] of map.entries()) if (!isKnown(key.cookie) && map.delete(key)) forgotten += 1;
  }
  return forgotten;
}
