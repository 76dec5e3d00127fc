import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { createClient } from "@connectrpc/connect";
import { LostEventSource } from "#api/gen/flow/events_pb.ts";
import { Verdict } from "#api/gen/flow/flow_pb.ts";
import { type GetFlowsResponse, Observer } from "#api/gen/observer/observer_pb.ts";
import { type GrpcConnection, openConnection } from "#hubble/client/transport.ts";
import { lossesOf } from "#hubble/observer/losses-header.ts";
import { timestampOf } from "#hubble/parser/messages.ts";
import { nowNanoseconds } from "#monitor/events.ts";
import { MS, mount, unmount } from "#sys/mount.ts";
import { ROOT, startNode, type TestNode, type TestPod, until } from "./node.ts";
import { type UdpSocket, udpSocket } from "./traffic.ts";

const missing = process.getuid?.() !== 0 ? "root is needed" : false;
const run = promisify(execFile);

const PORT = 9000;
/** Far more records than the kernel's ring has room for while nobody reads it: 8 MiB of 200 bytes. */
const PASSED = 25_000;
/** Fits into the quarter of the ring that is kept for drops, twice: the drop, and the verdict before it. */
const DENIED = 2000;

interface Pod {
  readonly pod: TestPod;
  readonly ip: string;
}

interface Tally {
  readonly flows: number;
  readonly denied: number;
  readonly lost: ReadonlyMap<LostEventSource, number>;
}

function tally(responses: readonly GetFlowsResponse[]): Tally {
  const lost = new Map<LostEventSource, number>();
  let [flows, denied] = [0, 0];
  for (const { responseTypes } of responses) {
    if (responseTypes.case === "lostEvents") {
      const { source, numEventsLost } = responseTypes.value;
      lost.set(source, (lost.get(source) ?? 0) + Number(numEventsLost));
    } else if (responseTypes.case === "flow") {
      flows++;
      if (responseTypes.value.verdict === Verdict.DROPPED && responseTypes.value.l4?.protocol.case === "UDP") denied++;
    }
  }
  return { flows, denied, lost };
}

describe("what Hubble loses when there is too much of it", { skip: missing }, () => {
  const disk = mkdtempSync(join(tmpdir(), "small-disk-"));
  const scope = new AsyncDisposableStack();
  let node: TestNode;
  let connection: GrpcConnection;
  let [web, client, other]: Pod[] = [];
  let sink: UdpSocket;
  let server = "";
  const startedAt = nowNanoseconds();

  const addPod = async (name: string): Promise<Pod> => {
    const pod = node.createPod(name, { app: name });
    const { code, output } = await node.cni("ADD", pod);
    assert.equal(code, 0, JSON.stringify(output));
    return { pod, ip: (output as { ips: { address: string }[] }).ips[0]?.address.split("/")[0] ?? "" };
  };
  const flood = (from: Pod | undefined, count: number) => {
    const args = [
      `--net=${from?.pod.netns.path}`,
      "perl",
      join(import.meta.dirname, "flood.pl"),
      web?.ip ?? "",
      String(PORT),
      String(count),
    ];
    execFileSync("nsenter", args);
  };
  const observer = () => createClient(Observer, connection.transport);
  const seen = async () => {
    const losses = { events: 0n, history: 0n };
    const onHeader = (headers: Headers) => void Object.assign(losses, lossesOf(headers));
    const { seenFlows } = await observer().serverStatus({}, { onHeader });
    return { flows: Number(seenFlows), events: Number(losses.events), history: Number(losses.history) };
  };
  const kept = async () => tally(await Array.fromAsync(observer().getFlows({ since: timestampOf(startedAt) })));
  const hubble = async (...args: string[]) => (await run(join(ROOT, "bin", "hubble"), [...args, "--server", server])).stdout;

  before(async () => {
    mount({ source: "tmpfs", target: disk, type: "tmpfs", data: "size=1m" });
    scope.defer(() => rmSync(disk, { recursive: true, force: true }));
    scope.defer(() => unmount(disk));
    const metrics = ["--hubble-metrics=flow drop", "--hubble-metrics-server=127.0.0.1:9965"];
    const flags = [`--hubble-history-path=${disk}`, "--hubble-disable-tls", "--monitor-aggregation=none", ...metrics];
    node = scope.use(await startNode({ flags }));
    await node.agent.start();
    server = `unix://${join(node.directory, "hubble.sock")}`;
    connection = scope.use(openConnection({ server }));
    [web, client, other] = [await addPod("web"), await addPod("client"), await addPod("other")];
    sink = scope.use(await udpSocket(web.pod.netns, PORT));
    node.api.create("ciliumnetworkpolicies.cilium.io", {
      apiVersion: "cilium.io/v2",
      kind: "CiliumNetworkPolicy",
      metadata: { name: "web", namespace: "default" },
      spec: {
        endpointSelector: { matchLabels: { app: "web" } },
        ingress: [{ fromEndpoints: [{ matchLabels: { app: "client" } }], toPorts: [{ ports: [{ port: String(PORT), protocol: "UDP" }] }] }],
      },
    });
    await until("the policy is enforced", async () => {
      flood(other, 1);
      return (await kept()).denied > 0;
    });
  });
  after(() => scope[Symbol.asyncDispose]());

  it("is counted to the last record, for those who follow too, and no drop is among it", async () => {
    flood(client, 1);
    await until("a datagram passes", () => sink.received.length > 0);
    const responses: GetFlowsResponse[] = [];
    const stop = new AbortController();
    const following = (async () => {
      const request = { follow: true, since: timestampOf(startedAt) };
      for await (const response of observer().getFlows(request, { signal: stop.signal })) responses.push(response);
    })();
    const before = await seen();
    await until("the client follows", () => tally(responses).flows >= before.flows);
    const deniedBefore = tally(responses).denied;
    node.agent.process?.kill("SIGSTOP");
    try {
      flood(client, PASSED);
      flood(other, DENIED);
    } finally {
      node.agent.process?.kill("SIGCONT");
    }
    await until("all drops have come", () => tally(responses).denied - deniedBefore >= 2 * DENIED);
    // A datagram that passes is reported where it leaves its pod and where it arrives; one that does not, as it leaves, judged and dropped.
    const made = 2 * PASSED + 3 * DENIED;
    const grown = ({ flows, events }: typeof before) => flows + events - before.flows - before.events;
    await until("the kernel's losses have been read", async () => grown(await seen()) >= made);
    await until("the client knows what became of each", async () => {
      const [{ flows, events }, got] = [await seen(), tally(responses)];
      return got.flows + lostIn(got) === flows && got.lost.get(LostEventSource.PERF_EVENT_RING_BUFFER) === events;
    });
    stop.abort();
    await assert.rejects(following);
    const [after, found] = [await seen(), tally(responses)];
    assert.equal(found.denied - deniedBefore, 2 * DENIED, "each drop and its verdict");
    assert(after.events > 0 && lostIn(found) > 0, "the kernel and the client's stream were both too slow");
    assert(grown(after) - made < 1000, `${grown(after)} records of ${made} datagrams' and a few others`);
  });

  it("of the history, on a disk that is full: in status, metrics, and the stream of those who ask for it", async () => {
    const { flows: atLeast, history } = await seen();
    assert(history > 0, "the disk was full");
    const found = await kept();
    const { flows: atMost } = await seen();
    const told = found.flows + lostIn(found);
    assert(told >= atLeast && told <= atMost, `${told} flows are kept or told as lost, of ${atLeast} to ${atMost}`);
    assert.match(await hubble("status"), /^Lost from History: [\d,]+ \(/m);
    assert.match(await hubble("observe", "--since", "1h"), /EVENTS LOST: HUBBLE_RING_BUFFER CPU\(0\) \d+/);
    const fetching = 'fetch("http://127.0.0.1:9965/metrics").then(async (answer) => console.log(await answer.text()))';
    const args = [`--net=${node.netns.path}`, process.execPath, "-e", fetching];
    assert.match((await run("nsenter", args)).stdout, /^hubble_history_lost_total [1-9]\d*$/m);
    assert.match(readFileSync(node.agent.logFile, "utf8"), /ENOSPC.*flow history cannot be written/);
  });

  it("of the history ends when the disk has room again, and is remembered over a restart", async () => {
    mount({ target: disk, type: "tmpfs", flags: MS.REMOUNT, data: "size=64m" });
    const { flows: before, history } = await seen();
    flood(client, 3000);
    await until("they have been seen", async () => (await seen()).flows >= before + 6000);
    assert((await kept()).flows >= 6000, "more than the memory holds");
    assert.equal((await seen()).history, history, "no more are lost");
    const { flows } = await seen();
    await node.agent.stop("SIGTERM");
    await node.agent.start();
    const found = await kept();
    const { flows: fresh } = await seen();
    assert(lostIn(found) >= history - 4095, "what was lost before is still told");
    assert(found.flows + lostIn(found) >= flows, `${found.flows} and ${lostIn(found)} lost, of ${flows}, and ${fresh} since`);
  });
});

/** Flows that a stream's reader missed, or that the history has not. */
function lostIn({ lost }: Tally): number {
  return lost.get(LostEventSource.HUBBLE_RING_BUFFER) ?? 0;
}
