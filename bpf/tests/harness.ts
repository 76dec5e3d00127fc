import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { type DatapathConfig, encodeConfig } from "#datapath/gen/config.ts";
import {
  type DropReason,
  dropReasonNames,
  EventType,
  observationPointNames,
  type UsageOutcome,
  usageOutcomeNames,
} from "#datapath/gen/enums.ts";
import * as gen from "#datapath/gen/structs.ts";
import { unsettledUsage } from "#datapath/usage.ts";
import { type Codec, u32, u64 } from "#ebpf/codec.ts";
import { buildPacket, macOf, type PacketSpec } from "#packet/build.ts";
import type { Packet } from "#packet/headers.ts";
import { parsePacket } from "#packet/parse.ts";
import { readRing } from "#sys/bpf.ts";
import { createNetnsAt, deleteNetnsAt, inNetns, type Netns, openNetns } from "#sys/netns.ts";
import type { IpAddress } from "#types/addr.ts";
import { type Loaded, loadObject, type RunOutput, TestMap, testRun, testRunXdp } from "./kernel.ts";
import { NodeMaps, type Pod, type PolicyOfPod } from "./maps.ts";
import { ServiceMaps } from "./service-maps.ts";

/** What became of a packet. */
export interface Outcome {
  readonly verdict: "pass" | "drop" | "redirect";
  /** Name of the drop reason, as in the enum: `POLICY_DENIED`. */
  readonly reason: string | undefined;
  readonly packet: Packet;
  readonly bytes: Uint8Array;
  readonly mark: number;
  readonly events: readonly gen.Event[];
  /** Observation points of the trace events, in order: `TO_ENDPOINT`. */
  readonly traces: readonly string[];
}

const VERDICTS = { 0: "pass", 2: "drop", 7: "redirect" } as const;
const PODS_MAX = 4;
const RING_BYTES = 8 * 1024 * 1024;
/** The ring of a test that wants it to overflow. */
export const SMALL_RING_BYTES = 4096;
const SENTINEL_IFINDEX = 1;

interface RingRecord {
  readonly event: gen.Event;
}

function* recordsOf(batch: Buffer): Generator<RingRecord> {
  for (let at = 0; at + 8 <= batch.length; ) {
    const header = batch.readUInt32LE(at);
    const length = header & 0x3fffffff;
    if (!(header & 0x40000000) && length >= gen.event.size) yield { event: gen.event.decode(batch, at + 8) };
    at += 8 + ((length + 7) & ~7);
  }
}

/** The datapath's programs over maps of their own, in a network namespace with a few veths. Nothing is attached or pinned. */
export class Datapath implements AsyncDisposable {
  readonly pods = new Map<string, Pod>();
  readonly #objects: Loaded[] = [];
  readonly #config: Partial<DatapathConfig>;
  readonly #netns: Netns;
  readonly #path: string;
  readonly #stopRing: () => void;
  #events: gen.Event[] = [];
  #wake: (() => void) | undefined;
  readonly maps: NodeMaps;
  readonly services: ServiceMaps;
  readonly #lost: number;
  readonly #metrics: number;
  readonly #usage: number;

  constructor(config: Partial<DatapathConfig>, reuse: Readonly<Record<string, number>>) {
    this.#config = config;
    this.#path = `/run/netns/ciliabpf-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    createNetnsAt(this.#path);
    this.#netns = openNetns(this.#path);
    const lines = ["link set lo up"];
    for (let i = 1; i <= PODS_MAX; i++) lines.push(`link add lxc${i} index ${10 + i} type veth peer name pod${i}`, `link set lxc${i} up`);
    execFileSync("nsenter", [`--net=${this.#path}`, "ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
    const lxc = loadObject("bpf_lxc", encodeConfig("bpf_lxc", config), reuse);
    const host = loadObject("bpf_host", encodeConfig("bpf_host", config), lxc.maps.cilium_ct === undefined ? {} : sharedMaps(lxc));
    this.#objects.push(lxc, host);
    this.maps = new NodeMaps(lxc.maps);
    this.services = new ServiceMaps(lxc.maps);
    this.#lost = lxc.maps.cilium_events_lost ?? -1;
    this.#metrics = lxc.maps.cilium_metrics ?? -1;
    this.#usage = lxc.maps.cilium_policy_usage ?? -1;
    this.#stopRing = readRing(
      reuse.cilium_events ?? lxc.maps.cilium_events ?? -1,
      reuse.cilium_events === undefined ? RING_BYTES : SMALL_RING_BYTES,
      (batch) => {
        for (const { event } of recordsOf(batch)) this.#events.push(event);
        this.#wake?.();
      },
    );
  }

  program(name: string): number {
    for (const object of this.#objects) {
      const fd = object.programs[name];
      if (fd !== undefined) return fd;
    }
    throw new Error(`no program ${name}`);
  }

  /** A pod of this node, ready, without any policy (everything passes) unless `policy` gives one. */
  addPod(name: string, identity: number, policy: PolicyOfPod = {}): Pod {
    const n = this.pods.size + 1;
    if (n > PODS_MAX) throw new Error("no veth left");
    const pod: Pod = {
      name,
      lxcId: 100 + n,
      identity,
      ipv4: `10.244.1.${10 + n}` as IpAddress,
      ipv6: `fd00:10:244:1::${10 + n}` as IpAddress,
      ifindex: 10 + n,
      mac: macOf(n),
      nodeMac: macOf(100 + n),
    };
    this.pods.set(name, pod);
    this.maps.addPod(pod, policy);
    return pod;
  }

  /** One run; what it reported is in the outcome. */
  async run(program: string, bytes: Uint8Array, input: { ifindex: number; ingressIfindex?: number; mark?: number }): Promise<Outcome> {
    this.#events = [];
    const out = inNetns(this.#netns, () => testRun(this.program(program), bytes, input));
    const events = await this.#eventsUntilSentinel();
    return outcomeOf(out, events);
  }

  /** One run whose records nobody waits for. */
  runFast(
    program: string,
    bytes: Uint8Array,
    input: { ifindex: number; ingressIfindex?: number; mark?: number; repeat?: number },
  ): RunOutput {
    return inNetns(this.#netns, () => testRun(this.program(program), bytes, input));
  }

  /** A frame at the device's driver. Its program is loaded when it is first asked for. */
  atDriver(
    spec: PacketSpec,
    repeat = 1,
  ): { readonly verdict: "drop" | "pass" | "tx"; readonly bytes: Uint8Array; readonly durationNs: number } {
    if (!this.#objects.some(({ programs }) => "cil_xdp_entry" in programs))
      this.#objects.push(loadObject("bpf_xdp", encodeConfig("bpf_xdp", this.#config), sharedMaps(this.#objects[0])));
    const bytes = buildPacket({ ...spec, ethernet: { source: macOf(900), destination: macOf(901), ...spec.ethernet } });
    const out = inNetns(this.#netns, () => testRunXdp(this.program("cil_xdp_entry"), bytes, { ifindex: 14, repeat }));
    return { ...out, verdict: (["drop", "drop", "pass", "tx"] as const)[out.code] ?? "drop" };
  }

  /** Waits for the records of all runs so far, and gives those that were not given before. */
  settle(): Promise<readonly gen.Event[]> {
    return this.#eventsUntilSentinel();
  }

  /** Runs `work` in the namespace of the veths. */
  inside<T>(work: () => T): T {
    return inNetns(this.#netns, work);
  }

  /** A packet leaves a pod. The frame's MACs are right unless the spec gives others. */
  fromPod(pod: Pod, spec: PacketSpec, mark = 0): Promise<Outcome> {
    return this.run("cil_from_container", frameFrom(pod, spec), { ifindex: pod.ifindex, ingressIfindex: pod.ifindex, mark });
  }

  /** The node's stack sends a packet to a pod. `ingressIfindex` 0: made on this node. */
  toPod(pod: Pod, spec: PacketSpec, options: { mark?: number; ingressIfindex?: number } = {}): Promise<Outcome> {
    const bytes = buildPacket({ ...spec, ethernet: { source: pod.nodeMac, destination: pod.mac, ...spec.ethernet } });
    return this.run("cil_to_container", bytes, { ifindex: pod.ifindex, ...options });
  }

  /** A packet comes in from another machine. */
  fromNetwork(spec: PacketSpec): Promise<Outcome> {
    const bytes = buildPacket({ ...spec, ethernet: { source: macOf(900), destination: macOf(901), ...spec.ethernet } });
    return this.run("cil_from_netdev", bytes, { ifindex: 14, ingressIfindex: 14 });
  }

  /** The node's stack sends a packet out of its device. */
  toNetwork(spec: PacketSpec): Promise<Outcome> {
    const bytes = buildPacket({ ...spec, ethernet: { source: macOf(901), destination: macOf(900), ...spec.ethernet } });
    return this.run("cil_to_netdev", bytes, { ifindex: 14 });
  }

  /** A packet to an unknown veth is a drop event of its own kind: when it arrives, all before it have. */
  async #eventsUntilSentinel(): Promise<gen.Event[]> {
    const frame = buildPacket({ ethernet: {}, ip: { source: "192.0.2.1" as IpAddress, destination: "192.0.2.2" as IpAddress } });
    inNetns(this.#netns, () => testRun(this.program("cil_to_container"), frame, { ifindex: SENTINEL_IFINDEX }));
    for (;;) {
      const at = this.#events.findIndex((event) => event.ifindex === SENTINEL_IFINDEX);
      if (at >= 0) {
        const events = this.#events.slice(0, at);
        this.#events = [];
        return events;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Records that did not fit into the ring, of all CPUs. */
  lostEvents(): bigint {
    return (
      perCpu(this.#lost, u32, u64)
        .get(0)
        ?.reduce((sum, n) => sum + n, 0n) ?? 0n
    );
  }

  /** What `cilium_metrics` counted, of all CPUs. */
  metric(reason: number, direction: number): gen.MetricsValue {
    const values = perCpu(this.#metrics, u32, gen.metricsValue).get(reason + 256 * direction) ?? [];
    return values.reduce((sum, one) => ({ count: sum.count + one.count, bytes: sum.bytes + one.bytes }), { count: 0n, bytes: 0n });
  }

  /** What rules have decided so far, live connections included: `5 egress ALLOWED` → packets and bytes. */
  usage(): Record<string, { packets: bigint; bytes: bigint }> {
    const sums: Record<string, { packets: bigint; bytes: bigint }> = {};
    const add = (name: string, packets: bigint, bytes: bigint) => {
      const old = sums[name] ?? { packets: 0n, bytes: 0n };
      if (packets > 0n) sums[name] = { packets: old.packets + packets, bytes: old.bytes + bytes };
    };
    const counted = perCpu(this.#usage, gen.usageKey, gen.usageValue);
    for (const key of counted.keys()) {
      const name = `${key.cookie} ${key.egress ? "egress" : "ingress"} ${usageOutcomeNames[key.outcome as UsageOutcome]}`;
      for (const { packets, bytes } of counted.get(key) ?? []) add(name, packets, bytes);
    }
    for (const key of this.maps.ct.keys()) {
      const entry = this.maps.ct.get(key);
      for (const { cookie, egress, outcome, packets, bytes } of entry ? unsettledUsage(entry) : []) {
        add(`${cookie} ${egress ? "egress" : "ingress"} ${usageOutcomeNames[outcome as UsageOutcome]}`, packets, bytes);
      }
    }
    return sums;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopRing();
    for (const object of this.#objects) object.close();
    this.maps[Symbol.dispose]();
    this.services[Symbol.dispose]();
    this.#netns.close();
    deleteNetnsAt(this.#path);
    await Promise.resolve();
  }
}

function sharedMaps(loaded: Loaded | undefined): Record<string, number> {
  return Object.fromEntries(Object.entries(loaded?.maps ?? {}).filter(([name]) => name.startsWith("cilium_")));
}

function frameFrom(pod: Pod, spec: PacketSpec): Uint8Array {
  return buildPacket({ ...spec, ethernet: { source: pod.mac, destination: pod.nodeMac, ...spec.ethernet } });
}

function outcomeOf(out: RunOutput, events: readonly gen.Event[]): Outcome {
  const drop = events.find((event) => event.type === EventType.DROP);
  return {
    verdict: VERDICTS[out.code as keyof typeof VERDICTS],
    reason: drop === undefined ? undefined : dropReasonNames[drop.subtype as DropReason],
    packet: parsePacket(out.bytes),
    bytes: out.bytes,
    mark: out.mark,
    events,
    traces: events.filter((event) => event.type === EventType.TRACE).map((event) => observationPointNames[event.subtype] ?? "?"),
  };
}

/** A per-CPU map, read only: a value a CPU. */
function perCpu<K, T>(fd: number, key: Codec<K>, one: Codec<T>): TestMap<K, T[]> {
  const count = cpus().length;
  return new TestMap(fd, key, {
    size: one.size * count,
    encode: () => undefined,
    decode: (from: Buffer) => Array.from({ length: count }, (_, i) => one.decode(from, i * one.size)),
  });
}

/** Loads the programs and makes their world. Records of every packet are on unless `config` says otherwise. */
export function openDatapath(config: Partial<DatapathConfig> = {}, reuse: Readonly<Record<string, number>> = {}): Datapath {
  return new Datapath({ monitorAggregation: 0, nodeIfindex: 14, ...config }, reuse);
}
