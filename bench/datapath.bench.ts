import { buildPacket } from "#packet/build.ts";
import { addressToBytes } from "#types/addr.ts";
import { macToBytes } from "#types/mac.ts";
import { openDatapath } from "../bpf/tests/harness.ts";
import { loadEmptyProgram, testRun } from "../bpf/tests/kernel.ts";
import type { Pod } from "../bpf/tests/maps.ts";
import { ACK, type Family, type Place, remoteNode, remotePod, TCP, tcp } from "../bpf/tests/words.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

/** A packet loses a hop a run and is not refilled: so many runs a call. */
const RUNS = 250;
const CALLS = 1500;
const PORTS = [40000, 80] as const;
const MONITOR_MEDIUM = 3;

interface Path {
  readonly name: string;
  readonly program: string;
  readonly ifindex: number;
  readonly from: Place;
  readonly to: Place;
  readonly family: Family;
  readonly goal: number;
}

/** Nanoseconds a packet costs in the programs: established connections, both pods' policies enforced. */
export const benchmark: Benchmark = {
  name: "datapath",
  about: "nanoseconds a packet in the eBPF programs, against an empty program",
  async run(progress): Promise<Row[]> {
    await using datapath = openDatapath({ monitorAggregation: MONITOR_MEDIUM });
    const [CLIENT, SERVER] = [10001, 10002];
    const rules = [CLIENT, SERVER].map((peer) => ({ peer, protocol: TCP, port: 80 }));
    const client = datapath.addPod("client", CLIENT, { egress: rules });
    const server = datapath.addPod("server", SERVER, { ingress: rules });
    for (const family of ["ipv4", "ipv6"] as const) datapath.maps.know(remotePod[family], SERVER, remoteNode[family]);
    // A rewritten frame must be as good as the first: the receiver's host end gets the sender's MAC.
    const alike = (pod: Pod, sender: Pod): void => {
      for (const text of [pod.ipv4, pod.ipv6]) {
        const key = { bytes: addressToBytes(text) };
        const info = datapath.maps.lxc.get(key);
        if (info) datapath.maps.lxc.set(key, { ...info, nodeMac: macToBytes(sender.mac) });
      }
    };
    alike(server, client);

    const here = { program: "cil_from_container", ifindex: client.ifindex, from: client };
    const paths: Path[] = (["ipv4", "ipv6"] as const).flatMap((family): Path[] => [
      { name: `same-node/${family}`, ...here, to: server, family, goal: 11 },
      { name: `to-other-node/${family}`, ...here, to: remotePod, family, goal: 11 },
      { name: `from-other-node/${family}`, program: "cil_from_netdev", ifindex: 14, from: remotePod, to: server, family, goal: 11 },
      { name: `not-for-a-pod/${family}`, program: "cil_from_netdev", ifindex: 14, from: remotePod, to: remoteNode, family, goal: 5 },
    ]);
    const empty = loadEmptyProgram();
    return paths.map(({ name, program, ifindex, from, to, family, goal }) => {
      progress(name);
      const spec = tcp(from, to, family, PORTS, ACK);
      const bytes = buildPacket({
        ...spec,
        ip: { ...spec.ip, ttl: 255 },
        ethernet: { source: client.mac, destination: client.nodeMac },
        payload: "x".repeat(64),
      });
      const input = { ifindex, ingressIfindex: ifindex, repeat: RUNS };
      // In turn, and of the quiet calls: others use the machine too.
      const [ours, peer]: [number[], number[]] = [[], []];
      for (let call = 0; call < CALLS; call++) {
        ours.push(datapath.runFast(program, bytes, input).durationNs);
        peer.push(datapath.inside(() => testRun(empty, bytes, input)).durationNs);
      }
      return {
        name: `datapath/${name}`,
        unit: "ns",
        ours: quantile(ours, 0.1),
        peer: quantile(peer, 0.1),
        peerName: "empty program",
        goal,
      };
    });
  },
};
