import { Direction, EventFlags, EventType, SockEventFlags } from "#datapath/gen/enums.ts";
import { event as eventCodec, sockEvent as sockEventCodec } from "#datapath/gen/structs.ts";
import { addressFromBytes } from "#types/addr.ts";
import type { EventDirection, MonitorEvent, PacketEvent, SocketEvent } from "./events.ts";

const PACKET_TYPES: Readonly<Record<number, PacketEvent["type"]>> = {
  [EventType.DROP]: "drop",
  [EventType.TRACE]: "trace",
  [EventType.POLICY_VERDICT]: "policy-verdict",
};
const DIRECTIONS: Readonly<Record<number, EventDirection>> = { [Direction.INGRESS]: "ingress", [Direction.EGRESS]: "egress" };

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

/** Reads one record of `cilium_events`; a packet in it is not copied. Undefined when it is too short or of an unknown type; never throws. */
export function decodeRecord(record: Uint8Array, clock: BootClock): MonitorEvent | undefined {
  const type = PACKET_TYPES[record[0] ?? 0];
  const bytes = Buffer.isBuffer(record) ? record : Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  if (type !== undefined) return bytes.length < eventCodec.size ? undefined : decodePacketEvent(type, bytes, clock);
  return record[0] === EventType.TRACE_SOCK && bytes.length >= sockEventCodec.size ? decodeSocketEvent(bytes, clock) : undefined;
}

function decodePacketEvent(type: PacketEvent["type"], record: Buffer, clock: BootClock): PacketEvent {
  const raw = eventCodec.decode(record, 0);
  const { flags } = raw;
  return {
    type,
    subtype: raw.subtype,
    time: clock(raw.ktime),
    direction: DIRECTIONS[raw.direction] ?? "unknown",
    isReply: (flags & EventFlags.REPLY_KNOWN) === 0 ? undefined : (flags & EventFlags.IS_REPLY) !== 0,
    audit: (flags & EventFlags.AUDIT) !== 0,
    l3Device: (flags & EventFlags.L3_DEVICE) !== 0,
    endpointId: raw.lxcId,
    matchType: raw.matchType,
    extError: raw.extError,
    sourceIdentity: raw.srcId,
    destinationIdentity: raw.dstId,
    destinationEndpointId: raw.dstLxcId,
    cookie: raw.cookie,
    ifindex: raw.ifindex,
    hash: raw.hash,
    verdict: raw.verdict,
    line: raw.line,
    file: raw.file,
    ctReason: raw.ctReason,
    originalLength: raw.lenOrig,
    packet: raw.data.subarray(0, raw.capLen),
  };
}

function decodeSocketEvent(record: Buffer, clock: BootClock): SocketEvent {
  const raw = sockEventCodec.decode(record, 0);
  return {
    type: "trace-sock",
    subtype: raw.subtype,
    time: clock(raw.ktime),
    protocol: raw.protocol,
    ipv6: (raw.flags & SockEventFlags.IPV6) !== 0,
    noBackend: (raw.flags & SockEventFlags.NO_BACKEND) !== 0,
    destinationIp: addressFromBytes(raw.destination.bytes),
    destinationPort: raw.dport,
    socketCookie: raw.sockCookie,
    cgroupId: raw.cgroupId,
  };
}
