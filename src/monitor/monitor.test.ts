import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { buildPacket } from "#packet/build.ts";
import { TcpFlag } from "#packet/headers.ts";
import { IpAddress } from "#types/addr.ts";
import { agentEvent } from "./agent-event.ts";
import { createBootClock, decodeRecord } from "./decode.ts";
import type { MonitorEvent, PacketEvent } from "./events.ts";
import { formatMonitorEvent } from "./format.ts";
import { monitorEventFromJson, stringifyMonitorEvent } from "./json.ts";
import { selectEvents } from "./select.ts";
import { startMonitorStream } from "./stream.ts";

const packet = buildPacket({
  ethernet: {},
  ip: { source: IpAddress("10.0.2.7"), destination: IpAddress("10.0.4.9") },
  tcp: { sourcePort: 51234, destinationPort: 8080, flags: TcpFlag.syn },
});

/** `struct event` as the datapath writes it. */
function eventRecord(fields: {
  readonly type: number;
  readonly subtype?: number;
  readonly flags?: number;
  readonly verdict?: number;
}): Uint8Array {
  const record = new Uint8Array(64 + 128);
  const at = new DataView(record.buffer);
  at.setUint8(0, fields.type);
  at.setUint8(1, fields.subtype ?? 0);
  at.setUint8(2, 1);
  at.setUint8(3, fields.flags ?? 0);
  at.setUint16(4, 1423, true);
  at.setUint8(6, 2);
  at.setInt8(7, -14);
  at.setUint32(8, 53713, true);
  at.setUint32(12, 12001, true);
  at.setUint32(16, 1423, true);
  at.setUint32(20, 99, true);
  at.setUint32(24, 12, true);
  at.setUint32(28, 0x5d1e, true);
  at.setInt32(32, fields.verdict ?? 0, true);
  at.setUint16(36, 1234, true);
  at.setUint8(38, 1);
  at.setUint8(39, 0);
  at.setUint32(40, 1500, true);
  at.setUint32(44, packet.length, true);
  at.setBigUint64(56, 5_000n, true);
  record.set(packet, 64);
  return record;
}

const clock = (ktime: bigint) => ktime + 1_000_000n;

function decoded(fields: Parameters<typeof eventRecord>[0]): PacketEvent {
  const event = decodeRecord(eventRecord(fields), clock);
  assert(event !== undefined && (event.type === "drop" || event.type === "trace" || event.type === "policy-verdict"));
  return event;
}

describe("decodeRecord", () => {
  it("reads every field of a drop", () => {
    const event = decoded({ type: 1, subtype: 133, flags: 1 | 2 | 8, verdict: -133 });
    const { packet: bytes, ...rest } = event;
    assert.deepEqual(bytes, packet);
    assert.deepEqual(rest, {
      type: "drop",
      subtype: 133,
      time: 1_005_000n,
      direction: "ingress",
      isReply: true,
      audit: true,
      l3Device: false,
      endpointId: 1423,
      matchType: 2,
      extError: -14,
      sourceIdentity: 53713,
      destinationIdentity: 12001,
      destinationEndpointId: 1423,
      cookie: 99,
      ifindex: 12,
      hash: 0x5d1e,
      verdict: -133,
      line: 1234,
      file: 1,
      ctReason: 0,
      originalLength: 1500,
    });
  });

  it("leaves the reply unknown when conntrack was not asked", () => assert.equal(decoded({ type: 4 }).isReply, undefined));

  it("reads a service translation", () => {
    const record = new Uint8Array(48);
    const at = new DataView(record.buffer);
    record.set([7, 2, 6, 2], 0);
    at.setUint16(4, 80);
    record.set([0xff, 0xff, 10, 0, 4, 9], 18);
    at.setBigUint64(24, 5n, true);
    at.setBigUint64(32, 7n, true);
    assert.deepEqual(decodeRecord(record, clock), {
      type: "trace-sock",
      subtype: 2,
      time: 1_000_000n,
      protocol: 6,
      ipv6: false,
      noBackend: true,
      destinationIp: "10.0.4.9",
      destinationPort: 80,
      socketCookie: 5n,
      cgroupId: 7n,
    });
  });

  for (const [name, record] of [
    ["nothing", new Uint8Array()],
    ["a short event", eventRecord({ type: 1 }).subarray(0, 191)],
    ["an unknown type", eventRecord({ type: 99 })],
    ["a short translation", Uint8Array.of(7, 1, 6, 0)],
  ] as const) {
    it(`gives nothing for ${name}`, () => assert.equal(decodeRecord(record, clock), undefined));
  }

  it("never gives more bytes than there are", () => {
    const record = eventRecord({ type: 1 });
    new DataView(record.buffer).setUint32(44, 0xffffffff, true);
    assert.equal((decodeRecord(record, clock) as PacketEvent).packet.length, 128);
  });
});

describe("createBootClock", () => {
  it("adds the difference of both clocks, and reads it again after ten seconds", () => {
    let wall = 1_000_000_000_000n;
    const read = createBootClock(
      () => 50_000_000_000n,
      () => wall,
    );
    assert.equal(read(50_000_000_000n), 1_000_000_000_000n);
    wall += 5_000_000n;
    assert.equal(read(50_000_000_001n), 1_000_000_000_001n);
    assert.equal(read(61_000_000_000n), 1_011_005_000_000n);
  });
});

describe("formatMonitorEvent", () => {
  const golden: readonly (readonly [string, MonitorEvent, string])[] = [
    [
      "a drop",
      decoded({ type: 1, subtype: 133 }),
      "xx drop (Policy denied, error -14) flow 0x5d1e to endpoint 1423, ifindex 12, file bpf_lxc.c:1234, identity 53713->12001: 10.0.2.7:51234 -> 10.0.4.9:8080 tcp SYN",
    ],
    [
      "a trace",
      decoded({ type: 4 }),
      "-> endpoint 1423 flow 0x5d1e , identity 53713->12001 state new ifindex 12 orig-ip 0.0.0.0: 10.0.2.7:51234 -> 10.0.4.9:8080 tcp SYN",
    ],
    [
      "a policy verdict",
      { ...decoded({ type: 5, verdict: -133 }), matchType: 0 },
      "Policy verdict log: flow 0x5d1e local EP ID 1423, remote ID 53713, proto 6, ingress, action deny, auth: disabled, match none, 10.0.2.7:51234 -> 10.0.4.9:8080 tcp SYN",
    ],
    [
      "an agent event",
      agentEvent({ kind: "policy-updated", labels: ["k8s:a=b"], revision: 4, ruleCount: 1 }),
      '>> Policy updated: {"labels":["k8s:a=b"],"revision":4,"rule_count":1}',
    ],
    ["a loss", { type: "lost", time: 0n, source: "kernel", count: 3 }, "CPU 00: Lost 3 events (kernel)"],
  ];
  for (const [name, event, line] of golden) it(`prints ${name}`, () => assert.equal(formatMonitorEvent(event), line));

  it("prints reserved identities by name unless numeric", () => {
    const event = { ...decoded({ type: 4 }), sourceIdentity: 2 };
    assert.match(formatMonitorEvent(event), /identity world->12001/);
    assert.match(formatMonitorEvent(event, { numeric: true }), /identity 2->12001/);
  });
});

describe("monitor events as JSON", () => {
  for (const event of [
    decoded({ type: 1, subtype: 133 }),
    decoded({ type: 4, flags: 1 }),
    agentEvent({ kind: "endpoint-created", id: 1, labels: [], podName: "a", namespace: "b" }, 5n),
  ] satisfies MonitorEvent[]) {
    it(`comes back as it was: ${event.type}`, () =>
      assert.deepEqual(monitorEventFromJson(JSON.parse(stringifyMonitorEvent(event))), event));
  }
  it("gives nothing for what is no event", () => assert.equal(monitorEventFromJson({ type: "weather" }), undefined));
});

describe("selectEvents", () => {
  const drop = decoded({ type: 1 });
  it("selects by type", () => {
    assert.equal(selectEvents({ types: ["drop"] })(drop), true);
    assert.equal(selectEvents({ types: ["trace"] })(drop), false);
  });
  it("selects by endpoint", () => {
    assert.equal(selectEvents({ to: 1423 })(drop), true);
    assert.equal(selectEvents({ from: 1423 })(drop), false);
    assert.equal(selectEvents({ relatedTo: 1423 })(drop), true);
  });
});

describe("startMonitorStream", () => {
  it("hands over records and reports what nobody understands", async () => {
    const events: MonitorEvent[] = [];
    const unknown: (number | undefined)[] = [];
    let give: (records: Iterable<Uint8Array>) => void = () => undefined;
    let closed = false;
    {
      await using _ = startMonitorStream({
        openRing(onBatch) {
          give = onBatch;
          return {
            close() {
              closed = true;
            },
          };
        },
        readLost: () => 0n,
        push: (event) => void events.push(event),
        clock,
        onUnknown: (type) => void unknown.push(type),
      });
      give([eventRecord({ type: 1 }), eventRecord({ type: 99 }), eventRecord({ type: 4 })]);
    }
    assert.deepEqual(
      events.map(({ type }) => type),
      ["drop", "trace"],
    );
    assert.deepEqual(unknown, [99]);
    assert.equal(closed, true);
  });
});
