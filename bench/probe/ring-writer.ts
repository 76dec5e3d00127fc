import { once } from "node:events";
import { createInterface } from "node:readline";
import { encodeConfig } from "#datapath/gen/config.ts";
import { buildPacket } from "#packet/build.ts";
import { closeBpf } from "#sys/bpf.ts";
import type { IpAddress } from "#types/addr.ts";
import { createMap, type Loaded, loadObject, testRun } from "../../bpf/tests/kernel.ts";

/**
 * Writes records as the datapath does, one a run of its program, into a ring that it is given or one of its own. Each line read is
 * a descriptor to use (0: a ring of its own), answered by `ready`, or `go RECORDS AT`, when to begin, answered by the nanoseconds of each.
 */
const RINGBUF = 27;
const [, , ringBytes] = process.argv;
const frame = buildPacket({ ethernet: {}, ip: { source: "192.0.2.1" as IpAddress, destination: "192.0.2.2" as IpAddress } });
/** No pod is behind it: the packet is dropped, and the drop reported. */
const LOOPBACK = 1;
const SPIN_MS = 3;

let datapath: Loaded | undefined;
let own = -1;

function load(descriptor: number): void {
  datapath?.close();
  if (own >= 0) closeBpf(own);
  own = descriptor === 0 ? createMap(RINGBUF, 0, 0, Number(ringBytes)) : -1;
  datapath = loadObject("bpf_lxc", encodeConfig("bpf_lxc", {}), { cilium_events: own >= 0 ? own : descriptor });
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [command, records, at] = line.split(" ");
  if (command === "go") {
    const due = BigInt(at ?? 0);
    // Whoever waits by spinning keeps its processor from the one that still has to be told.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number((due - process.hrtime.bigint()) / 1_000_000n) - SPIN_MS);
    while (process.hrtime.bigint() < due);
    const input = { ifindex: LOOPBACK, repeat: Number(records) };
    process.stdout.write(`${testRun(datapath?.programs.cil_to_container ?? -1, frame, input).durationNs}\n`);
  } else {
    load(Number(command));
    process.stdout.write("ready\n");
  }
});
await once(lines, "close");
