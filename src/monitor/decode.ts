import { addressFromBytes } from "#types/addr.ts";
import type { EventDirection, MonitorEvent, PacketEvent } from "./events.ts";

const EVENT_HEADER = 64;
const SOCK_EVENT_SIZE = 48;
const PACKET_TYPES: Readonly<Record<number, PacketEvent["type"]>> = { 1: "drop", 4: "trace", 5: "policy-verdict" };
const TYPE_TRACE_SOCK = 7;
const DIRECTIONS: readonly EventDirection[] = ["unknown", "ingress", "egress"];
const FLAG = { replyKnown: 1, isReply: 2, audit: 8, l3Device: 16 } as const;
const SOCK_FLAG = { ipv6: 1, noBackend: 2 } as const;

const READ_AGAIN_NS = 10_000_000_000n;
const CLOCK_NOISE_NS = 2_000_000n;

/** Turns the datapath's clock (nanoseconds since boot, suspended time included) into nanoseconds since 1970. */
export type BootClock = (ktime: bigint) => bigint;

/**
 * A clock that reads the difference of both clocks anew every ten seconds, as wall time may be set. `uptimeNs` reads CLOCK_BOOTTIME
 * (`boottimeNs` of `#sys/clock.ts`).
 */
export function createBootClock(uptimeNs: () => bigint, wallNs: () => bigint = readWall): BootClock {
  const difference = () => {
    const wall = wallNs();
    return wall - uptimeNs();
  };
  let offset = difference();
  let readAgainAt = uptimeNs() + READ_AGAIN_NS;
  return (ktime) => {
    if (ktime > readAgainAt) {
      const fresh = difference();
      readAgainAt = uptimeNs() + READ_AGAIN_NS;
      // Small differences are noise of the reading; following them would put events out of order.
      if (fresh - offset > CLOCK_NOISE_NS || offset - fresh > CLOCK_NOISE_NS) offset = fresh;
    }
    return ktime + offset;
  };
}

/** The wall clock at the moment its millisecond changes, so that the clocks of agents on one machine agree to microseconds. */
function readWall(): bigint {
  const start = Date.now();
  let now = start;
  while (now === start) now = Date.now();
  return BigInt(now) * 1_000_000n;
}

/** Reads one record of `cilium_events`. Undefined when it is too short or of an unknown type; never throws. */
export function decodeRecord(record: Uint8Array, clock: BootClock): MonitorEvent | undefined {
  const at = new DataView(record.buffer, record.byteOffset, record.byteLength);
  if (record.length < 1) return undefined;
  const type = PACKET_TYPES[at.getUint8(0)];
  if (type !== undefined) return record.length < EVENT_HEADER ? undefined : decodePacketEvent(type, record, at, clock);
  if (at.getUint8(0) !== TYPE_TRACE_SOCK || record.length < SOCK_EVENT_SIZE) return undefined;
  const flags = at.getUint8(3);
  return {
    type: "trace-sock",
    subtype: at.getUint8(1),
    time: clock(at.getBigUint64(40, true)),
    protocol: at.getUint8(2),
    ipv6: (flags & SOCK_FLAG.ipv6) !== 0,
    noBackend: (flags & SOCK_FLAG.noBackend) !== 0,
    destinationIp: addressFromBytes(record.subarray(8, 24)),
    destinationPort: at.getUint16(4),
    socketCookie: at.getBigUint64(24, true),
    cgroupId: at.getBigUint64(32, true),
  };
}

/** Offsets are those of `struct event` in bpf/lib/event_types.h; decode.test.ts compares them with the generated codec. */
function decodePacketEvent(type: PacketEvent["type"], record: Uint8Array, at: DataView, clock: BootClock): PacketEvent {
  const flags = at.getUint8(3);
  const captured = Math.min(at.getUint32(44, true), record.length - EVENT_HEADER);
  return {
    type,
    subtype: at.getUint8(1),
    time: clock(at.getBigUint64(56, true)),
    direction: DIRECTIONS[at.getUint8(2)] ?? "unknown",
    isReply: (flags & FLAG.replyKnown) === 0 ? undefined : (flags & FLAG.isReply) !== 0,
    audit: (flags & FLAG.audit) !== 0,
    l3Device: (flags & FLAG.l3Device) !== 0,
    endpointId: at.getUint16(4, true),
    matchType: at.getUint8(6),
    extError: at.getInt8(7),
    sourceIdentity: at.getUint32(8, true),
    destinationIdentity: at.getUint32(12, true),
    destinationEndpointId: at.getUint32(16, true),
    cookie: at.getUint32(20, true),
    ifindex: at.getUint32(24, true),
    hash: at.getUint32(28, true),
    verdict: at.getInt32(32, true),
    line: at.getUint16(36, true),
    file: at.getUint8(38),
    ctReason: at.getUint8(39),
    originalLength: at.getUint32(40, true),
    packet: record.slice(EVENT_HEADER, EVENT_HEADER + captured),
  };
}
