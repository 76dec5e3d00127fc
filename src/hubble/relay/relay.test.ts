import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createClient } from "@connectrpc/connect";
import { type GetFlowsResponse, Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { NodeState } from "#api/gen/relay/relay_pb.ts";
import { silentLogger } from "#runtime/logger.ts";
import { openConnection } from "../client/transport.ts";
import { DEMO_TIME, demoNames, packetEvent } from "../fixtures.ts";
import { lossesOf } from "../observer/losses-header.ts";
import { type Observer, startObserver } from "../observer/observer.ts";
import { formatSocketAddress } from "../server/address.ts";
import { startHubbleServer } from "../server/hubble.ts";
import { createPeerTable, type PeerTable } from "../server/peers.ts";
import { TimeMerge } from "./merge.ts";
import { peerServiceSource } from "./peer-service.ts";
import { startRelay } from "./relay.ts";

interface Agent extends AsyncDisposable {
  readonly observer: Observer;
  readonly address: string;
}

async function startAgent(nodeName: string, peers: PeerTable): Promise<Agent> {
  const observer = startObserver({ names: demoNames({ nodeName }), log: silentLogger, version: "v1" });
  const server = await startHubbleServer({ observer, peers, log: silentLogger }, { listen: ["127.0.0.1:0"] });
  const [bound] = server.addresses;
  assert(bound !== undefined);
  return { observer, address: formatSocketAddress(bound), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function cluster(sortBufferDrainMs = 20) {
  const scope = new AsyncDisposableStack();
  const peers = createPeerTable();
  const a = scope.use(await startAgent("a", peers));
  const b = scope.use(await startAgent("b", peers));
  peers.set([
    { name: "a", address: a.address },
    { name: "b", address: b.address },
  ]);
  const source = peerServiceSource({ log: silentLogger }, a.address);
  const relay = scope.use(
    await startRelay({ peers: source, log: silentLogger, version: "relay" }, { listen: ["127.0.0.1:0"], sortBufferDrainMs }),
  );
  const [bound] = relay.addresses;
  assert(bound !== undefined);
  const connection = scope.use(openConnection({ server: formatSocketAddress(bound) }));
  const client = createClient(ObserverService, connection.transport);
  const connected = async (count: number) => {
    while ((await client.serverStatus({})).numConnectedNodes !== count) await new Promise((resolve) => setImmediate(resolve));
  };
  await connected(2);
  return { a, b, peers, client, connected, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

const flow = (milliseconds: number) => packetEvent({ time: DEMO_TIME + BigInt(milliseconds) * 1_000_000n });

function flowsOf(responses: readonly GetFlowsResponse[]): string[] {
  return responses.flatMap(({ responseTypes, nodeName, time }) =>
    responseTypes.case === "flow" ? [`${nodeName}${(time?.nanos ?? 0) / 1e6 - 102}`] : [],
  );
}

describe("the relay", () => {
  it("merges the flows of all nodes in the order of time, so many of each", async () => {
    // Nothing here drains by time: both streams end.
    await using nodes = await cluster(60_000);
    for (let i = 0; i < 4; i++) {
      nodes.a.observer.push(flow(10 * i));
      nodes.b.observer.push(flow(10 * i + 5));
    }
    const found = await Array.fromAsync(nodes.client.getFlows({ number: 3n }));
    assert.deepEqual(flowsOf(found), ["a10", "b15", "a20", "b25", "a30", "b35"]);
    const first = found[0]?.responseTypes;
    assert(first?.case === "nodeStatus");
    assert.equal(first.value.stateChange, NodeState.NODE_CONNECTED);
    assert.deepEqual([...first.value.nodeNames].sort(), ["a", "b"]);
  });

  it("sums the status and names what is missing", async () => {
    await using nodes = await cluster();
    nodes.a.observer.push(flow(1));
    nodes.b.observer.push(flow(2));
    nodes.peers.set([...nodes.peers.list(), { name: "c", address: "127.0.0.1:1" }]);
    while ((await nodes.client.getNodes({})).nodes.length < 3) await new Promise((resolve) => setImmediate(resolve));
    for (const [node, count] of [
      [nodes.a, 3],
      [nodes.b, 4],
    ] as const)
      node.observer.push({ type: "lost", time: DEMO_TIME, source: "kernel", count });
    let lost = 0n;
    const status = await nodes.client.serverStatus(
      {},
      {
        onHeader: (headers) => {
          lost = lossesOf(headers).events;
        },
      },
    );
    assert.equal(lost, 7n, "what all nodes have lost");
    assert.deepEqual([status.numFlows, status.maxFlows, status.numConnectedNodes, status.numUnavailableNodes], [4n, 8190n, 2, 1]);
    assert.deepEqual(status.unavailableNodes, ["c"]);
    const { nodes: listed } = await nodes.client.getNodes({});
    assert.deepEqual(
      listed.map(({ name, state }) => [name, state]),
      [
        ["a", NodeState.NODE_CONNECTED],
        ["b", NodeState.NODE_CONNECTED],
        ["c", NodeState.NODE_UNAVAILABLE],
      ],
    );
    const found = await Array.fromAsync(nodes.client.getFlows({}));
    const missing = found.flatMap(({ responseTypes }) =>
      responseTypes.case === "nodeStatus" && responseTypes.value.stateChange === NodeState.NODE_UNAVAILABLE
        ? responseTypes.value.nodeNames
        : [],
    );
    assert.deepEqual(missing, ["c"]);
  });

  it("lets a node that comes later join a stream that follows", async () => {
    await using nodes = await cluster();
    await using late = await startAgent("c", nodes.peers);
    const stop = new AbortController();
    const seen: GetFlowsResponse[] = [];
    const following = (async () => {
      for await (const response of nodes.client.getFlows({ follow: true }, { signal: stop.signal })) {
        seen.push(response);
        const { responseTypes } = response;
        if (seen.length === 1) nodes.peers.set([...nodes.peers.list(), { name: "c", address: late.address }]);
        if (responseTypes.case === "nodeStatus" && responseTypes.value.nodeNames.includes("c")) {
          late.observer.push(packetEvent({ time: BigInt(Date.now() + 1000) * 1_000_000n }));
        }
        if (responseTypes.case === "flow") stop.abort();
      }
    })();
    await assert.rejects(following);
    assert.equal(seen.at(-1)?.nodeName, "c");
  });
});

describe("the relay and an agent that restarts", () => {
  it("goes on where the stream broke", async () => {
    await using nodes = await cluster();
    const stop = new AbortController();
    const seen: GetFlowsResponse[] = [];
    const following = (async () => {
      for await (const response of nodes.client.getFlows({ follow: true }, { signal: stop.signal })) {
        seen.push(response);
        if (response.responseTypes.case === "flow") stop.abort();
      }
    })();
    const { observer, address } = nodes.b;
    await nodes.b[Symbol.asyncDispose]();
    // While nobody serves it the flow stays in the ring; it is not lost for those who follow.
    observer.push(packetEvent({ time: BigInt(Date.now()) * 1_000_000n + 1_000_000_000n }));
    await using _ = await startHubbleServer({ observer, peers: nodes.peers, log: silentLogger }, { listen: [address] });
    await assert.rejects(following);
    assert.equal(seen.at(-1)?.nodeName, "b");
    assert(
      seen.some(({ responseTypes }) => responseTypes.case === "nodeStatus" && responseTypes.value.stateChange === NodeState.NODE_ERROR),
    );
  });
});

type Item = { readonly time: bigint };

async function* timed(...times: readonly number[]): AsyncGenerator<Item> {
  for (const time of times) yield { time: BigInt(time) };
}

function mergeOf(drainMs: number, onError: (thrown: unknown) => void = () => undefined, finite = false): TimeMerge<Item> {
  return new TimeMerge<Item>({ timeOf: ({ time }) => time, drainMs, perStream: 3, finite, onError: (_, thrown) => onError(thrown) });
}

const never = new AbortController().signal;

describe("TimeMerge", () => {
  it("sorts streams that are each in order, longer than its buffer", async () => {
    const merge = mergeOf(60_000);
    merge.add(timed(1, 4, 7, 10, 13, 16, 19));
    merge.add(timed(2, 5, 8));
    merge.add(timed());
    const found = await Array.fromAsync(merge.read(never, false));
    assert.deepEqual(
      found.map(({ time }) => Number(time)),
      [1, 2, 4, 5, 7, 8, 10, 13, 16, 19],
    );
  });

  it("waits with full queues for a stream that starts late, when all of them end", async () => {
    const merge = mergeOf(60_000, undefined, true);
    const started = Promise.withResolvers<void>();
    const late = async function* (): AsyncGenerator<Item> {
      await started.promise;
      yield* timed(1, 3);
    };
    merge.add(timed(2, 4, 5, 6, 7));
    merge.add(late());
    const found = Array.fromAsync(merge.read(never, false));
    await new Promise((resolve) => setImmediate(resolve));
    started.resolve();
    assert.deepEqual(
      (await found).map(({ time }) => Number(time)),
      [1, 2, 3, 4, 5, 6, 7],
    );
  });

  it("waits once for a silent stream, not for each item", async () => {
    const merge = mergeOf(5, undefined, true);
    const stop = new AbortController();
    merge.add(timed(...Array.from({ length: 5000 }, (_, time) => time)));
    merge.add({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) });
    const reader = merge.read(stop.signal, true);
    for (let time = 0n; time < 5000n; time++) assert.deepEqual((await reader.next()).value, { time });
    stop.abort();
    await reader.return();
  });

  it("does not wait for ever for a silent stream", async () => {
    const merge = mergeOf(5);
    const stop = new AbortController();
    merge.add(timed(1, 2));
    merge.add({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) });
    const reader = merge.read(stop.signal, true);
    assert.deepEqual((await reader.next()).value, { time: 1n });
    assert.deepEqual((await reader.next()).value, { time: 2n });
    stop.abort();
    await reader.return();
  });

  it("goes on when a stream fails, and says so", async () => {
    const errors: unknown[] = [];
    const merge = mergeOf(5, (thrown) => errors.push(thrown));
    // biome-ignore lint/correctness/useYield: it fails
    const failing = async function* (): AsyncGenerator<Item> {
      throw new Error("lost");
    };
    merge.add(failing());
    merge.add(timed(1));
    assert.equal((await Array.fromAsync(merge.read(never, false))).length, 1);
    assert.equal((errors[0] as Error).message, "lost");
  });
});
