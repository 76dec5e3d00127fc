import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { EventFlags, EventType } from "#datapath/gen/enums.ts";
import { buildPacket } from "#packet/build.ts";
import { parsePacket } from "#packet/parse.ts";
import { boottimeNs } from "#sys/clock.ts";
import { type Datapath, type Outcome, openDatapath, SMALL_RING_BYTES } from "./harness.ts";
import { createMap } from "./kernel.ts";
import type { Pod } from "./maps.ts";
import { ACK, CLIENT, FIN_ACK, families, remoteNode, remotePod, SERVER, SYN_ACK, TCP, tcp } from "./words.ts";

const PORTS = [40000, 80] as const;
const BACK = [80, 40000] as const;

const RINGBUF = 27;

const smallRing = (): number => createMap(RINGBUF, 0, 0, SMALL_RING_BYTES);

describe("records", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER, { ingress: [{ peer: CLIENT, protocol: TCP, port: 80, cookie: 42 }] });
    for (const family of families) datapath.maps.know(remotePod[family], SERVER, remoteNode[family]);
  });
  after(() => datapath[Symbol.asyncDispose]());

  for (const family of families) {
    const ipv6 = family === "ipv6" ? EventFlags.IPV6 : 0;

    it(`a connection tells: from-endpoint, the verdict with its rule, to-endpoint: ${family}`, async () => {
      datapath.maps.ct.clear();
      const started = boottimeNs();
      const { events } = await datapath.fromPod(client, tcp(client, server, family, PORTS));
      assert.deepEqual(
        events.map(({ type, subtype }) => [type, subtype]),
        [
          [EventType.TRACE, 5],
          [EventType.POLICY_VERDICT, 0],
          [EventType.TRACE, 0],
        ],
      );
      const [, verdict, last] = events;
      assert.deepEqual(
        [verdict?.verdict, verdict?.cookie, verdict?.matchType, verdict?.lxcId, verdict?.direction, verdict?.flags],
        [0, 42, 2, server.lxcId, 1, ipv6 | EventFlags.REPLY_KNOWN],
      );
      assert.deepEqual(
        [last?.srcId, last?.dstId, last?.lxcId, last?.dstLxcId, last?.ifindex],
        [CLIENT, SERVER, server.lxcId, server.lxcId, client.ifindex],
      );
      for (const event of events) assert.ok(event.ktime >= started && event.ktime <= boottimeNs(), "boottime");
    });

    it(`a reply says so, with the direction of its connection: ${family}`, async () => {
      datapath.maps.ct.clear();
      await datapath.fromPod(client, tcp(client, server, family, PORTS));
      const { events } = await datapath.fromPod(server, tcp(server, client, family, BACK, SYN_ACK));
      const last = events.at(-1);
      assert.equal(last?.flags, ipv6 | EventFlags.REPLY_KNOWN | EventFlags.IS_REPLY);
      assert.deepEqual([last?.lxcId, last?.direction], [client.lxcId, 2]);
      assert.equal(events[0]?.flags, ipv6, "nothing is known before conntrack is asked");
    });

    it(`a drop names reason, rule, place and carries the packet: ${family}`, async () => {
      const bytes = buildPacket({
        ...tcp(client, server, family, [40000, 81]),
        payload: "x".repeat(300),
        ethernet: { source: client.mac, destination: client.nodeMac },
      });
      const { events } = await datapath.run("cil_from_container", bytes, { ifindex: client.ifindex });
      const drop = events.at(-1);
      assert.deepEqual([drop?.type, drop?.subtype, drop?.verdict, drop?.cookie], [EventType.DROP, 133, -133, 9001]);
      assert.deepEqual([drop?.srcId, drop?.dstId, drop?.lxcId, drop?.direction], [CLIENT, SERVER, server.lxcId, 1]);
      assert.deepEqual([drop?.lenOrig, drop?.capLen], [bytes.length, 128]);
      assert.deepEqual([...(drop?.data ?? [])], [...bytes.subarray(0, 128)]);
      assert.equal(parsePacket(drop?.data ?? bytes).tcp?.destinationPort, 81);
    });

    it(`a drop before policy says where in the source it was decided: ${family}`, async () => {
      const { events } = await datapath.fromPod(client, tcp(remotePod, server, family, PORTS));
      const drop = events.at(-1);
      assert.deepEqual([drop?.subtype, drop?.file, drop?.lxcId, drop?.direction], [132, 1, client.lxcId, 2]);
      assert.ok((drop?.line ?? 0) > 0);
    });
  }

  it("a short packet is captured whole", async () => {
    const { events } = await datapath.fromPod(client, tcp(client, server, "ipv4", PORTS));
    assert.deepEqual([events.at(-1)?.capLen, events.at(-1)?.lenOrig], [54, 54]);
  });
});

describe("aggregation", () => {
  const traces = (outcome: Outcome): readonly string[] => outcome.traces;
  const conversation = async (datapath: Datapath, a: Pod, b: Pod): Promise<number[]> => {
    const counts: number[] = [];
    const say = async (outcome: Promise<Outcome>): Promise<void> => {
      counts.push(traces(await outcome).length);
    };
    await say(datapath.fromPod(a, tcp(a, b, "ipv4", PORTS)));
    await say(datapath.fromPod(b, tcp(b, a, "ipv4", BACK, SYN_ACK)));
    await say(datapath.fromPod(a, tcp(a, b, "ipv4", PORTS, ACK)));
    await say(datapath.fromPod(a, tcp(a, b, "ipv4", PORTS, ACK)));
    await say(datapath.fromPod(b, tcp(b, a, "ipv4", BACK, ACK)));
    await say(datapath.fromPod(a, tcp(a, b, "ipv4", PORTS, FIN_ACK)));
    return counts;
  };

  for (const [level, expected] of [
    [0, [2, 2, 2, 2, 2, 2]],
    [1, [1, 1, 1, 1, 1, 1]],
    [2, [1, 1, 1, 1, 1, 1]],
    [3, [1, 1, 0, 0, 0, 1]],
    [4, [1, 1, 0, 0, 0, 1]],
  ] as const) {
    it(`level ${level}, loaded and set while running`, async () => {
      await using loaded = openDatapath({ monitorAggregation: level });
      assert.deepEqual(await conversation(loaded, loaded.addPod("a", CLIENT), loaded.addPod("b", SERVER)), expected);
      await using running = openDatapath({ monitorAggregation: level === 0 ? 3 : 0 });
      running.maps.runtime.set(0, { monitorAggregationPlusOne: level + 1, reserved: 0 });
      assert.deepEqual(await conversation(running, running.addPod("a", CLIENT), running.addPod("b", SERVER)), expected);
    });
  }

  it("never swallows a drop", async () => {
    await using datapath = openDatapath({ monitorAggregation: 4 });
    const [a, b] = [datapath.addPod("a", CLIENT), datapath.addPod("b", SERVER, { ingress: [] })];
    for (let i = 0; i < 5; i++) {
      const { events } = await datapath.fromPod(a, tcp(a, b, "ipv4", PORTS));
      assert.equal(events.filter(({ type }) => type === EventType.DROP).length, 1);
    }
  });

  it("what is switched off is not reported, and judged and counted all the same", async () => {
    for (const [off, told] of [
      [{ eventsPolicyVerdict: 0 }, [EventType.TRACE, EventType.DROP]],
      [{ eventsTrace: 0 }, [EventType.POLICY_VERDICT, EventType.DROP]],
    ] as const) {
      await using datapath = openDatapath(off);
      const [a, b] = [datapath.addPod("a", CLIENT), datapath.addPod("b", SERVER, { ingress: [] })];
      const { verdict, events } = await datapath.fromPod(a, tcp(a, b, "ipv4", PORTS));
      assert.deepEqual([verdict, events.map(({ type }) => type)], ["drop", told]);
    }
    await using silent = openDatapath({ eventsDrop: 0, eventsPolicyVerdict: 0, eventsTrace: 0 }, { cilium_events: smallRing() });
    const [a, b] = [silent.addPod("a", CLIENT), silent.addPod("b", SERVER, { ingress: [] })];
    const bytes = buildPacket({ ...tcp(a, b, "ipv4", PORTS), ethernet: { source: a.mac, destination: a.nodeMac } });
    for (let i = 0; i < 100; i++) assert.equal(silent.runFast("cil_from_container", bytes, { ifindex: a.ifindex }).code, 2);
    assert.equal(silent.metric(133, 1).count, 100n);
    assert.equal(silent.lostEvents(), 0n, "there was nothing to lose");
  });

  it("an idle connection speaks again after the interval", async () => {
    await using datapath = openDatapath({ monitorAggregation: 3, monitorInterval: 5 });
    const [a, b] = [datapath.addPod("a", CLIENT), datapath.addPod("b", SERVER)];
    await datapath.fromPod(a, tcp(a, b, "ipv4", PORTS));
    const ack = () => datapath.fromPod(a, tcp(a, b, "ipv4", PORTS, ACK));
    assert.equal((await ack()).traces.length, 0);
    const [key] = datapath.maps.ct.keys();
    const entry = key && datapath.maps.ct.get(key);
    if (!key || !entry) throw new Error("no entry");
    datapath.maps.ct.set(key, { ...entry, txReported: entry.txReported - 5 });
    assert.equal((await ack()).traces.length, 1);
    assert.equal((await ack()).traces.length, 0);
  });

  it("records that do not fit are counted, and the packets pass", async () => {
    await using datapath = openDatapath({}, { cilium_events: smallRing() });
    const [a, b] = [datapath.addPod("a", CLIENT), datapath.addPod("b", SERVER)];
    const bytes = buildPacket({ ...tcp(a, b, "ipv4", PORTS), ethernet: { source: a.mac, destination: a.nodeMac } });
    for (let i = 0; i < 100; i++) assert.equal(datapath.runFast("cil_from_container", bytes, { ifindex: a.ifindex }).code, 7);
    // 100 runs write 200 records of 200 bytes; nothing reads between them on this thread.
    assert.ok(datapath.lostEvents() > 100n);
  });

  it("a drop is not lost before a forward is", async () => {
    await using datapath = openDatapath({}, { cilium_events: smallRing() });
    const [a, b, closed] = [datapath.addPod("a", CLIENT), datapath.addPod("b", SERVER), datapath.addPod("closed", SERVER, { ingress: [] })];
    const send = (to: Pod, times: number) => {
      const bytes = buildPacket({ ...tcp(a, to, "ipv4", PORTS), ethernet: { source: a.mac, destination: a.nodeMac } });
      for (let i = 0; i < times; i++) datapath.runFast("cil_from_container", bytes, { ifindex: a.ifindex });
    };
    send(b, 100);
    const before = datapath.lostEvents();
    send(closed, 2);
    // Each tells that it was seen, which has no room, that it was denied and that it was dropped.
    assert.equal(datapath.lostEvents() - before, 2n);
  });
});
