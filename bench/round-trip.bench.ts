import { startLab } from "../test/e2e/lab.ts";
import { kubectl, podNetns } from "./probe/cluster.ts";
import { measureRoundTrip, startServer } from "./probe/pingpong.ts";
import { createPlainRouting } from "./probe/plain-routing.ts";
import type { Benchmark, Row } from "./row.ts";

const ROUNDS = 6;
const PORT = 5999;
const MANIFEST = new URL("manifests/round-trip.yaml", import.meta.url).pathname;

/** Pod to pod on one node under a policy, against plain veth routing without any, and loopback for scale. */
export const benchmark: Benchmark = {
  name: "round-trip",
  about: "64-byte TCP round trip pod to pod on one node, policy on, busy-polling",
  async run(progress): Promise<Row[]> {
    progress("booting a lab of one node");
    await using lab = await startLab("--nodes", "1");
    await kubectl(lab, "apply", "-f", MANIFEST);
    await kubectl(lab, "-n", "bench", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
    await kubectl(lab, "-n", "bench", "wait", "--for=condition=Valid", "cnp", "--all", "--timeout=30s");
    // Into the pod's namespace without kubectl: its processes would run beside the polling ends.
    const enter = async (name: string) => ["nsenter", `--net=${await podNetns("bench", name)}`];
    const pods = { client: await enter("client"), server: await enter("server") };
    const address = await kubectl(lab, "-n", "bench", "get", "pod", "server", "-o", "jsonpath={.status.podIP}");

    using plain = createPlainRouting();
    const places = {
      ours: { ...pods, address },
      plain: { client: plain.client, server: plain.server, address: plain.serverAddress },
      loopback: { client: plain.server, server: plain.server, address: "127.0.0.1" },
    };
    const best = { ours: Number.POSITIVE_INFINITY, plain: Number.POSITIVE_INFINITY, loopback: Number.POSITIVE_INFINITY };
    for (let round = 1; round <= ROUNDS; round += 1) {
      progress(`round ${round} of ${ROUNDS}`);
      for (const name of ["ours", "plain", "loopback"] as const) {
        const place = places[name];
        // One server at a time: a second one, polling, would take a processor away from the measured one.
        await using _server = await startServer(place.server, PORT);
        best[name] = Math.min(best[name], await measureRoundTrip(place.client, place.address, PORT));
      }
    }
    return [
      { name: "round-trip/same-node", unit: "us", ours: best.ours, peer: best.plain, peerName: "veth routing, no policy", goal: 0.85 },
      { name: "round-trip/loopback", unit: "us", ours: best.ours, peer: best.loopback, peerName: "loopback", goal: 1.25 },
    ];
  },
};
