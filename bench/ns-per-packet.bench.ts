import * as gen from "#datapath/gen/structs.ts";
import { buildPacket } from "#packet/build.ts";
import { closeBpf } from "#sys/bpf.ts";
import { addressToBytes } from "#types/addr.ts";
import { macToBytes } from "#types/mac.ts";
import { type Datapath, openDatapath } from "../bpf/tests/harness.ts";
import { createMap, loadEmptyProgram, TestMap, testRun } from "../bpf/tests/kernel.ts";
import type { Pod } from "../bpf/tests/maps.ts";
import { ACK, CLIENT, SERVER, TCP, tcp } from "../bpf/tests/words.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const FEW = 10;
const MANY = 50_000;
/** Each run takes a hop off the packet; one call must end before they are used up. */
const REPEAT = 240;
const CALLS = 400;
const ROUNDS = 12;
const NEW_FLOWS = 4_000;
/** What the verdict of a redirect looks like. */
const REDIRECT = 7;
const [CLIENT_PORT, SERVER_PORT] = [40_000, 80];
const TTL = 255;
const TTL_OFFSET = 22;
const LPM_TRIE = 11;
const NO_PREALLOC = 1;

/** A datapath with a client and a server, both under a policy of this many entries that allows their connection. */
class Scene implements AsyncDisposable {
  readonly datapath: Datapath;
  readonly #client: Pod;
  readonly #server: Pod;
  readonly #maps: number[] = [];

  /** `cookie` 0: the rules have no name, so nothing is counted for them. */
  constructor(entries: number, cookie = 1) {
    // As an agent configures it: reports of a connection's packets are aggregated.
    this.datapath = openDatapath({ monitorAggregation: 3, nodeIfindex: 14 });
    this.#client = this.datapath.addPod("client", CLIENT, { ingress: [], egress: [] });
    this.#server = this.datapath.addPod("server", SERVER, { ingress: [], egress: [] });
    const [client, server] = [this.#client, this.#server];
    // The frame that is handed over is the next run's input: let its sender be the client, too.
    const info = this.datapath.maps.lxc.get({ bytes: addressToBytes(server.ipv4) });
    if (info) this.datapath.maps.lxc.set({ bytes: addressToBytes(server.ipv4) }, { ...info, nodeMac: macToBytes(client.mac) });
    this.#fill(client.lxcId, 1, SERVER, entries, cookie);
    this.#fill(server.lxcId, 0, CLIENT, entries, cookie);
  }

  /** The entry of `peer`, and others of as many other identities, in both directions by turns, as a real map has them. */
  #fill(lxcId: number, egress: number, peer: number, count: number, cookie: number): void {
    const inner = createMap(LPM_TRIE, gen.policyKey.size, gen.policyEntry.size, count + 1, NO_PREALLOC);
    this.#maps.push(inner);
    const map = new TestMap(inner, gen.policyKey, gen.policyEntry);
    const value = { proxyPort: 0, flags: 0, authType: 0, matchLen: 24, precedence: 1, cookie };
    const key = (secLabel: number, direction: number, dport: number) => ({
      ...{ prefixlen: 64, secLabel, egress: direction, protocol: TCP, dport },
    });
    map.set(key(peer, egress, SERVER_PORT), value);
    for (let i = 1; i < count; i++) map.set(key(20_000 + (i >> 1), i & 1, 1024 + (i % 4096)), value);
    this.datapath.maps.policy.set(lxcId, inner);
  }

  frame(sourcePort: number, flags?: number): Uint8Array {
    const spec = tcp(this.#client, this.#server, "ipv4", [sourcePort, SERVER_PORT], flags);
    const ethernet = { source: this.#client.mac, destination: this.#client.nodeMac };
    return buildPacket({ ...spec, ip: { ...spec.ip, ttl: TTL }, ethernet });
  }

  run(frame: Uint8Array, repeat: number): number {
    const { ifindex } = this.#client;
    const out = this.datapath.runFast("cil_from_container", frame, { ifindex, ingressIfindex: ifindex, repeat });
    // Each run that delivered took a hop off.
    const hops = TTL - (out.bytes[TTL_OFFSET] ?? 0);
    if (out.code !== REDIRECT || hops !== repeat)
      throw new Error(`${hops} of ${repeat} packets were delivered, the last verdict is ${out.code}`);
    return out.durationNs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.datapath[Symbol.asyncDispose]();
    for (const fd of this.#maps) closeBpf(fd);
  }
}

/** What one round saw, nanoseconds a packet. */
interface Round {
  readonly empty: number;
  readonly emptyOnce: number;
  readonly few: number;
  readonly many: number;
  readonly uncounted: number;
  readonly fewNew: number;
  readonly manyNew: number;
  readonly uncountedNew: number;
}

const forth = ["few", "many", "uncounted"] as const;
const back = ["uncounted", "many", "few"] as const;

/** The same call for an empty program and for both scenes in turn, so that a slow moment meets all of them. */
async function measure(scenes: Readonly<Record<(typeof forth)[number], Scene>>, empty: number, round: number): Promise<Round> {
  const { few, many, uncounted } = scenes;
  const opened = few.frame(CLIENT_PORT);
  const established = few.frame(CLIENT_PORT, ACK);
  for (const scene of [few, many, uncounted]) {
    scene.run(opened, 1);
    scene.run(established, REPEAT);
  }
  const times = { empty: [] as number[], few: [] as number[], many: [] as number[], uncounted: [] as number[] };
  for (let call = 0; call < CALLS; call += 1) {
    times.empty.push(few.datapath.inside(() => testRun(empty, established, { ifindex: 0, repeat: REPEAT }).durationNs));
    for (const name of call % 2 ? forth : back) times[name].push(scenes[name].run(established, REPEAT));
  }
  const once = { empty: [] as number[], few: [] as number[], many: [] as number[], uncounted: [] as number[] };
  for (let flow = 0; flow < NEW_FLOWS; flow += 1) {
    const frame = few.frame(1024 + ((round * NEW_FLOWS + flow) % 38_000));
    once.empty.push(few.datapath.inside(() => testRun(empty, frame, { ifindex: 0 }).durationNs));
    for (const name of flow % 2 ? forth : back) once[name].push(scenes[name].run(frame, 1));
  }
  await Promise.all([few, many, uncounted].map(({ datapath }) => datapath.settle()));
  const half = (numbers: readonly number[]) => quantile(numbers, 0.5);
  return {
    ...{ empty: half(times.empty), few: half(times.few), many: half(times.many), uncounted: half(times.uncounted) },
    ...{ emptyOnce: half(once.empty), fewNew: half(once.few), manyNew: half(once.many), uncountedNew: half(once.uncounted) },
  };
}

/** BPF_PROG_TEST_RUN of the whole way from one pod to another of the node: both policies, conntrack, metrics, rewriting. */
export const benchmark: Benchmark = {
  name: "ns-per-packet",
  about: "nanoseconds a packet in the datapath's program, pod to pod on one node, against an empty program",
  async run(progress): Promise<Row[]> {
    await using few = new Scene(FEW);
    await using many = new Scene(MANY);
    await using uncounted = new Scene(FEW, 0);
    const empty = loadEmptyProgram();
    const rounds: Round[] = [];
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        progress(`round ${round + 1} of ${ROUNDS}`);
        rounds.push(await measure({ few, many, uncounted }, empty, round));
      }
    } finally {
      closeBpf(empty);
    }
    const best = (of: keyof Round) => Math.min(...rounds.map((round) => round[of]));
    const unit = "ns";
    const against = { unit, peerName: "empty program" };
    const counted = { unit, peerName: "uncounted", note: "what rules decide is counted" };
    const grown = { unit, peerName: `${FEW} entries`, note: `${MANY} policy entries at each pod` };
    return [
      { name: "ns-per-packet/established", ours: best("few"), peer: best("empty"), ...against },
      { name: "ns-per-packet/established-many", ours: best("many"), peer: best("few"), goal: 1.03, ...grown },
      {
        name: "ns-per-packet/first",
        ours: best("fewNew"),
        peer: best("emptyOnce"),
        ...against,
        note: "policy lookups, conntrack entry, report",
      },
      { name: "ns-per-packet/counted", ours: best("few"), peer: best("uncounted"), goal: 1.03, ...counted },
      { name: "ns-per-packet/first-counted", ours: best("fewNew"), peer: best("uncountedNew"), ...counted },
      { name: "ns-per-packet/first-many", ours: best("manyNew"), peer: best("fewNew"), ...grown },
    ];
  },
};
