import { buildPacket, macOf, type PacketSpec } from "#packet/build.ts";
import { closeBpf } from "#sys/bpf.ts";
import { type Datapath, openDatapath } from "../bpf/tests/harness.ts";
import { loadEmptyProgram, testRun } from "../bpf/tests/kernel.ts";
import type { Pod } from "../bpf/tests/maps.ts";
import type { ServiceSpec } from "../bpf/tests/service-maps.ts";
import { caller, clusterIp, NODE_PORT, nodePort, PORT, placeNode, vip } from "../bpf/tests/service-words.ts";
import { ACK, CLIENT, remotePod, TCP, tcp, thisNode } from "../bpf/tests/words.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

/** A translated packet is no call any more, so each run needs a packet of its own: single runs, many of them. */
const RUNS = 1_000;
const ROUNDS = 5;
const FEW = 10;
const MANY = 30_000;
const [CALLER_PORT, DIRECT_PORT] = [50_000, 8080];
const REDIRECT = 7;

type Timed = () => number;

/** Services up to this number, all with the backend on another node; the ones asked are the first. */
function fill(datapath: Datapath, count: number): void {
  datapath.services.set(nodePort("ipv4", TCP, [remotePod]));
  datapath.services.set(clusterIp("ipv4", TCP, [remotePod]));
  for (let i = 0; i < count - 2; i++) {
    const ip = `10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}` as ServiceSpec["ip"];
    datapath.services.set({ ip, port: PORT, protocol: TCP, backends: [{ ip: remotePod.ipv4, port: DIRECT_PORT }] });
  }
}

class Scene {
  readonly datapath: Datapath;
  readonly #client: Pod;

  constructor(services: number) {
    this.datapath = openDatapath({ monitorAggregation: 3 });
    this.#client = this.datapath.addPod("client", CLIENT);
    placeNode(this.datapath);
    fill(this.datapath, services);
  }

  /** A run of the program on the packet; the mean of what the kernel says, which is a whole number for one run. */
  #timed(program: string, spec: PacketSpec, ifindex: number): Timed {
    const [source, destination] = ifindex === 14 ? [macOf(900), macOf(901)] : [this.#client.mac, this.#client.nodeMac];
    const frame = (flags: number) =>
      buildPacket({ ...spec, ...(spec.tcp ? { tcp: { ...spec.tcp, flags } } : {}), ethernet: { source, destination } });
    const run = (bytes: Uint8Array) => this.datapath.runFast(program, bytes, { ifindex, ingressIfindex: ifindex });
    for (const flags of [2, ACK, ACK]) run(frame(flags));
    const bytes = frame(ACK);
    return () => {
      const { code, durationNs } = run(bytes);
      if (code !== REDIRECT) throw new Error(`${program}: verdict ${code}`);
      return durationNs;
    };
  }

  network(): Timed {
    return this.#timed("cil_from_netdev", tcp(caller, thisNode, "ipv4", [CALLER_PORT, NODE_PORT]), 14);
  }

  driver(): Timed {
    const spec = tcp(caller, thisNode, "ipv4", [CALLER_PORT, NODE_PORT], ACK);
    const behind = this.network();
    return () => {
      let out = this.datapath.atDriver(spec);
      // Once a second the packet goes on to TC.
      while (out.verdict !== "tx") {
        behind();
        out = this.datapath.atDriver(spec);
      }
      return out.durationNs;
    };
  }

  pod(to: "service" | "backend"): Timed {
    const spec = to === "service" ? tcp(this.#client, vip, "ipv4", [CALLER_PORT, PORT]) : undefined;
    return this.#timed(
      "cil_from_container",
      spec ?? tcp(this.#client, remotePod, "ipv4", [CALLER_PORT + 1, DIRECT_PORT]),
      this.#client.ifindex,
    );
  }
}

/** Medians of all, run in turn so that a slow moment meets all of them. */
function medians(timed: Readonly<Record<string, Timed>>): Record<string, number> {
  const times = Object.fromEntries(Object.keys(timed).map((name) => [name, [] as number[]]));
  for (let run = 0; run < RUNS; run += 1) for (const [name, one] of Object.entries(timed)) times[name]?.push(one());
  return Object.fromEntries(Object.entries(times).map(([name, numbers]) => [name, quantile(numbers, 0.5)]));
}

/** BPF_PROG_TEST_RUN of packets of established connections that sockets have not translated. */
export const benchmark: Benchmark = {
  name: "service-packet",
  about: "nanoseconds to translate a packet to a service: node port with NAT in TC and XDP, pod to ClusterIP; with 10 and 30,000 services",
  async run(progress): Promise<Row[]> {
    const few = new Scene(FEW);
    const many = new Scene(MANY);
    const empty = loadEmptyProgram();
    const frame = buildPacket({ ...tcp(caller, thisNode, "ipv4", [CALLER_PORT, NODE_PORT], ACK), ethernet: {} });
    const rounds: Record<string, number>[] = [];
    try {
      const timed = {
        empty: () => few.datapath.inside(() => testRun(empty, frame, { ifindex: 0 }).durationNs),
        ...{ tc: few.network(), tcMany: many.network(), xdp: few.driver(), xdpMany: many.driver() },
        ...{ direct: few.pod("backend"), service: few.pod("service"), serviceMany: many.pod("service") },
      };
      for (let round = 0; round < ROUNDS; round += 1) {
        progress(`round ${round + 1} of ${ROUNDS}`);
        rounds.push(medians(timed));
      }
    } finally {
      closeBpf(empty);
      for (const scene of [few, many]) await scene.datapath[Symbol.asyncDispose]();
    }
    const best = (name: string) => Math.min(...rounds.map((round) => round[name] ?? Number.NaN));
    const row = (name: string, ours: string, peer: string, peerName: string, more: Partial<Row> = {}): Row => ({
      ...{ name: `service-packet/${name}`, unit: "ns", ours: best(ours), peer: best(peer), peerName },
      ...more,
    });
    const flat = { goal: 1.1, note: `${MANY} services` };
    return [
      row("nodeport-tc", "tc", "empty", "empty program", { note: "NAT, to a backend on another node" }),
      row("nodeport-tc-many", "tcMany", "tc", `${FEW} services`, flat),
      row("nodeport-xdp", "xdp", "tc", "TC", { note: "the same, with the sending, which TC leaves to the kernel behind it" }),
      row("nodeport-xdp-many", "xdpMany", "xdp", `${FEW} services`, flat),
      row("clusterip-pod", "service", "direct", "to the backend itself", { note: "without socket translation" }),
      row("clusterip-pod-many", "serviceMany", "service", `${FEW} services`, flat),
    ];
  },
};
