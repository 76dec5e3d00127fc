import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, constants, type IncomingHttpHeaders } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { LostEventSource } from "#api/gen/flow/events_pb.ts";
import { Verdict } from "#api/gen/flow/flow_pb.ts";
import { Health, HealthCheckResponse_ServingStatus } from "#api/gen/grpc/health/v1/health_pb.ts";
import { GetFlowsRequestSchema, type GetFlowsResponse, Observer as ObserverService } from "#api/gen/observer/observer_pb.ts";
import { ChangeNotificationType, Peer } from "#api/gen/peer/peer_pb.ts";
import { agentEvent } from "#monitor/agent-event.ts";
import { silentLogger } from "#runtime/logger.ts";
import { type GrpcConnection, openConnection } from "../client/transport.ts";
import { DEMO_TIME, demoNames, packetEvent } from "../fixtures.ts";
import { EXPLAIN_HEADER } from "../observer/explain-header.ts";
import { lossesOf } from "../observer/losses-header.ts";
import { type Observer, startObserver } from "../observer/observer.ts";
import { timestampOf } from "../parser/messages.ts";
import { formatSocketAddress } from "./address.ts";
import { startGrpcServer } from "./grpc.ts";
import { startHubbleServer } from "./hubble.ts";
import { createPeerTable, type PeerTable } from "./peers.ts";

interface World extends AsyncDisposable {
  readonly observer: Observer;
  readonly peers: PeerTable;
  readonly address: string;
  readonly connection: GrpcConnection;
}

async function world(capacity = 255): Promise<World> {
  const scope = new AsyncDisposableStack();
  const observer = startObserver({ names: demoNames(), log: silentLogger, version: "v1.2.3" }, { capacity });
  const peers = createPeerTable();
  const server = scope.use(await startHubbleServer({ observer, peers, log: silentLogger }, { listen: ["127.0.0.1:0"] }));
  const [bound] = server.addresses;
  assert(bound !== undefined);
  const address = formatSocketAddress(bound);
  const connection = scope.use(openConnection({ server: address }));
  return { observer, peers, address, connection, [Symbol.asyncDispose]: () => scope.disposeAsync() };
}

const SECOND = 1_000_000_000n;

/** Five flows a second apart; the odd ones are drops. */
function pushFive({ observer }: World): void {
  for (let i = 0; i < 5; i++) {
    const time = DEMO_TIME + BigInt(i) * SECOND;
    observer.push(i % 2 === 0 ? packetEvent({ time }) : packetEvent({ type: "drop", subtype: 133, time }));
  }
}

/** The seconds, counted from the first flow, of what came. */
function secondsOf(responses: readonly GetFlowsResponse[]): number[] {
  const first = timestampOf(DEMO_TIME).seconds;
  return responses.map(({ time }) => Number((time?.seconds ?? 0n) - first));
}

describe("GetFlows over a socket", () => {
  const at = (seconds: number) => timestampOf(DEMO_TIME + BigInt(seconds) * SECOND);
  const drops = [{ verdict: [Verdict.DROPPED] }];
  const cases = [
    ["everything", {}, [0, 1, 2, 3, 4]],
    ["the last two", { number: 2n }, [3, 4]],
    ["the first two", { number: 2n, first: true }, [0, 1]],
    ["the last drop", { number: 1n, whitelist: drops }, [3]],
    ["the first drop", { number: 1n, first: true, whitelist: drops }, [1]],
    ["all but drops", { blacklist: drops }, [0, 2, 4]],
    ["since", { since: at(2) }, [2, 3, 4]],
    ["until", { until: at(2) }, [0, 1, 2]],
    ["the last one until", { number: 1n, until: at(2) }, [2]],
    ["the last two since", { number: 2n, since: at(1) }, [3, 4]],
    ["the first one since", { number: 1n, first: true, since: at(1) }, [1]],
  ] as const;
  for (const [name, request, expected] of cases) {
    it(`gives ${name}`, async () => {
      await using server = await world();
      pushFive(server);
      const client = createClient(ObserverService, server.connection.transport);
      const init = { ...request, whitelist: "whitelist" in request ? drops : [], blacklist: "blacklist" in request ? drops : [] };
      assert.deepEqual(secondsOf(await Array.fromAsync(client.getFlows(init))), expected);
    });
  }

  it("follows, and ends when the client cancels", async () => {
    await using server = await world();
    pushFive(server);
    const stop = new AbortController();
    const client = createClient(ObserverService, server.connection.transport);
    const seen: GetFlowsResponse[] = [];
    const following = (async () => {
      for await (const response of client.getFlows({ follow: true, number: 1n }, { signal: stop.signal })) {
        seen.push(response);
        if (seen.length === 1) server.observer.push(packetEvent({ time: DEMO_TIME + 9n * SECOND }));
        if (seen.length === 2) stop.abort();
      }
    })();
    await assert.rejects(following, (thrown: unknown) => ConnectError.from(thrown).code === Code.Canceled);
    assert.deepEqual(secondsOf(seen), [4, 9]);
  });

  it("keeps the deadline of the client", async () => {
    await using server = await world();
    const client = createClient(ObserverService, server.connection.transport);
    const waiting = Array.fromAsync(client.getFlows({ follow: true }, { timeoutMs: 50 }));
    await assert.rejects(waiting, (thrown: unknown) => ConnectError.from(thrown).code === Code.DeadlineExceeded);
  });

  it("refuses what it cannot understand", async () => {
    await using server = await world();
    const client = createClient(ObserverService, server.connection.transport);
    for (const request of [{ whitelist: [{ sourceIp: ["x"] }] }, { first: true, follow: true }, { fieldMask: { paths: ["nonsense"] } }]) {
      await assert.rejects(
        Array.fromAsync(client.getFlows(request)),
        (thrown: unknown) => ConnectError.from(thrown).code === Code.InvalidArgument,
      );
    }
  });

  it("reports losses, however the flows are filtered", async () => {
    await using server = await world();
    pushFive(server);
    server.observer.push({ type: "lost", time: DEMO_TIME + 5n * SECOND, source: "kernel", count: 17 });
    const client = createClient(ObserverService, server.connection.transport);
    const found = await Array.fromAsync(client.getFlows({ whitelist: drops }));
    const last = found.at(-1)?.responseTypes;
    assert.equal(found.length, 3);
    assert(last?.case === "lostEvents");
    assert.equal(last.value.source, LostEventSource.PERF_EVENT_RING_BUFFER);
    assert.equal(last.value.numEventsLost, 17n);
  });

  it("tells a slow client exactly how many flows it missed", async () => {
    await using server = await world();
    const total = 5000;
    const stop = new AbortController();
    const client = createClient(ObserverService, server.connection.transport);
    const flood = () => {
      for (let i = 1; i < total; i++) server.observer.push(packetEvent());
    };
    let received = 0;
    let lost = 0;
    const take = ({ responseTypes }: GetFlowsResponse) => {
      if (responseTypes.case === "lostEvents") lost += Number(responseTypes.value.numEventsLost);
      // While the client is busy with its first flow, far more come than the ring and the connection hold.
      else if (++received === 1) flood();
      if (received + lost === total) stop.abort();
    };
    const reading = (async () => {
      for await (const response of client.getFlows({ follow: true, number: 1n }, { signal: stop.signal })) take(response);
    })();
    server.observer.push(packetEvent());
    await assert.rejects(reading, (thrown: unknown) => ConnectError.from(thrown).code === Code.Canceled);
    assert(lost >= total - 1 - 255 - 1, `only ${lost} lost`);
    assert.equal(received + lost, total);
  });

  it("sends the fields of the mask, and what printers need besides", async () => {
    await using server = await world();
    server.observer.push(packetEvent({ type: "policy-verdict", verdict: -133 }));
    const client = createClient(ObserverService, server.connection.transport);
    const [narrow] = await Array.fromAsync(client.getFlows({ fieldMask: { paths: ["source.identity", "l4"] } }));
    assert(narrow?.responseTypes.case === "flow");
    const { source, destination, l4, Summary, uuid } = narrow.responseTypes.value;
    assert.deepEqual(
      [source?.identity, source?.podName, destination, l4?.protocol.case, Summary, uuid],
      [4208, "", undefined, "TCP", "", ""],
    );
    const [printed] = await Array.fromAsync(client.getFlows({ fieldMask: { paths: ["Summary"] } }));
    assert(printed?.responseTypes.case === "flow");
    assert.equal(printed.responseTypes.value.ingressDeniedBy[0]?.name, "rule1");
  });

  it("explains only to clients that ask for it", async () => {
    await using server = await world();
    server.observer.push(packetEvent({ type: "drop", subtype: 133 }));
    const client = createClient(ObserverService, server.connection.transport);
    const extension = async (headers: Record<string, string>) => {
      const [found] = await Array.fromAsync(client.getFlows({}, { headers }));
      return found?.responseTypes.case === "flow" ? found.responseTypes.value.extensions?.typeUrl : undefined;
    };
    assert.equal(await extension({}), undefined);
    assert.equal(await extension({ [EXPLAIN_HEADER]: "1" }), "type.googleapis.com/cilia.Explanation");
  });

  it("speaks plain gRPC: frames, content type, version and trailers", async () => {
    await using server = await world();
    pushFive(server);
    const session = connect(`http://${server.address}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/observer.Observer/GetFlows",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const message = toBinary(GetFlowsRequestSchema, {
      $typeName: "observer.GetFlowsRequest",
      number: 1n,
      first: false,
      follow: false,
      blacklist: [],
      whitelist: [],
    });
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    stream.end(frame);
    const headers: Record<string, unknown>[] = [];
    stream.on("response", (found) => void headers.push({ ...found }));
    stream.on("trailers", (found) => void headers.push({ ...found }));
    const body = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>));
    session.close();
    assert.equal(body.readUInt32BE(1), body.length - 5);
    assert.match(String(headers[0]?.["content-type"]), /^application\/grpc/);
    assert.equal(headers[0]?.["hubble-server-version"], "v1.2.3");
    assert.equal(headers[1]?.["grpc-status"], "0");
  });
});

const SIGNS: Readonly<Record<number, string>> = {
  [ChangeNotificationType.PEER_ADDED]: "+",
  [ChangeNotificationType.PEER_DELETED]: "-",
  [ChangeNotificationType.PEER_UPDATED]: "~",
};

describe("the other methods", () => {
  it("tell agent events, namespaces and status", async () => {
    await using server = await world();
    pushFive(server);
    server.observer.push(agentEvent({ kind: "policy-updated", labels: ["k8s:a=b"], revision: 4, ruleCount: 1 }));
    const client = createClient(ObserverService, server.connection.transport);
    const [event] = await Array.fromAsync(client.getAgentEvents({}));
    assert.equal(event?.agentEvent?.notification.case, "policyUpdate");
    const { namespaces } = await client.getNamespaces({});
    assert.deepEqual(
      namespaces.map(({ cluster, namespace }) => [cluster, namespace]),
      [["default", "default"]],
    );
    const status = await client.serverStatus({});
    assert.deepEqual([status.numFlows, status.maxFlows, status.seenFlows, status.version], [6n, 255n, 5n, "v1.2.3"]);
    server.observer.push({ type: "lost", time: DEMO_TIME, source: "kernel", count: 17 });
    let lost = 0n;
    await client.serverStatus(
      {},
      {
        onHeader: (headers) => {
          lost = lossesOf(headers).events;
        },
      },
    );
    assert.equal(lost, 17n);
    assert.deepEqual(await Array.fromAsync(client.getDebugEvents({})), []);
    await assert.rejects(client.getNodes({}), (thrown: unknown) => ConnectError.from(thrown).code === Code.Unimplemented);
  });

  it("refuse what they do not serve in gRPC's way", async () => {
    await using bare = await startGrpcServer(() => undefined, ["127.0.0.1:0"]);
    const [address] = bare.addresses;
    assert(address !== undefined);
    using connection = openConnection({ server: formatSocketAddress(address) });
    await assert.rejects(createClient(Health, connection.transport).check({}), /unimplemented.*unknown service or method \/grpc\.health/);
    // Go's client asks that the headers themselves are the end, and says "without sending trailers" else.
    const session = connect(`http://${formatSocketAddress(address)}`);
    const call = session.request({ ":method": "POST", ":path": "/peer.Peer/Notify", "content-type": "application/grpc" });
    const [headers, flags] = (await once(call.end(), "response")) as [IncomingHttpHeaders, number];
    assert.equal(headers["grpc-status"], "12");
    assert(flags & constants.NGHTTP2_FLAG_END_STREAM, `flags ${flags}`);
    session.destroy();
  });

  it("tell health", async () => {
    await using server = await world();
    const client = createClient(Health, server.connection.transport);
    for (const service of ["", "hubble.server.Observer", "observer.Observer"])
      assert.equal((await client.check({ service })).status, HealthCheckResponse_ServingStatus.SERVING);
    await assert.rejects(client.check({ service: "x" }), (thrown: unknown) => ConnectError.from(thrown).code === Code.NotFound);
  });

  it("tell peers, then changes", async () => {
    await using server = await world();
    const [a, b] = [
      { name: "a", address: "10.0.0.1:4244" },
      { name: "b", address: "10.0.0.2:4244" },
    ];
    server.peers.set([a, b]);
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { type, name } of createClient(Peer, server.connection.transport).notify({}, { signal: stop.signal })) {
        seen.push(`${SIGNS[type]}${name}`);
        if (seen.length === 2) server.peers.set([{ ...b, address: "10.0.0.3:4244" }]);
        if (seen.length === 4) stop.abort();
      }
    })();
    await assert.rejects(watching);
    assert.deepEqual(seen, ["+a", "+b", "-a", "~b"]);
  });
});

describe("a Unix socket", () => {
  it("is served, not open to everybody, and replaced when it was left behind", async () => {
    const directory = mkdtempSync(join(tmpdir(), "hubble-"));
    const path = join(directory, "hubble.sock");
    const observer = startObserver({ names: demoNames(), log: silentLogger, version: "v" });
    for (let round = 0; round < 2; round++) {
      await using _ = await startHubbleServer({ observer, peers: createPeerTable(), log: silentLogger }, { listen: [`unix://${path}`] });
      assert.equal(statSync(path).mode & 0o777, 0o660);
      using connection = openConnection({ server: `unix://${path}` });
      assert.equal((await createClient(ObserverService, connection.transport).serverStatus({})).version, "v");
    }
    rmSync(directory, { recursive: true });
  });
});
