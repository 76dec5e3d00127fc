import { createReadStream } from "node:fs";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type LostEvent, LostEventSchema } from "#api/gen/flow/events_pb.ts";
import { type Flow, FlowSchema } from "#api/gen/flow/flow_pb.ts";
import { createEncoder } from "../wire/encoder.ts";
import { type Gap, gapOf, lossIn } from "./gaps.ts";

/**
 * The file format of the flow history. A segment is a run of records, oldest first, all of one run of the observer:
 * `u32 payload length | u8 kind | u64 sequence | u64 time`, little endian, then the protobuf message. Its name says the time of its
 * first record and which run wrote it, so that nothing else need be opened to know what it covers.
 */
export type HistoryEntry =
  | { readonly kind: "flow"; readonly time: bigint; readonly flow: Flow }
  | { readonly kind: "lost"; readonly time: bigint; readonly event: LostEvent };

/** A record that is not decoded yet. */
export interface RawRecord {
  /** Place in the observer's ring, of the run that wrote the segment. */
  readonly sequence: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  /** What the disk did not take, when the record says that. */
  readonly gap: Gap | undefined;
  decode(): HistoryEntry;
}

/** What a segment's name tells. `run` is eight hexadecimal digits. */
export interface SegmentName {
  readonly firstTime: bigint;
  readonly run: string;
}

const flows = createEncoder<Flow>(FlowSchema);
const HEADER_BYTES = 21;
const KIND_FLOW = 0;
const KIND_LOST = 1;
const KIND_GAP = 2;
/** No record is longer: what claims to be is the torn end of a file. */
const MAX_PAYLOAD_BYTES = 1 << 20;
const NAME = /^(\d{19})-([0-9a-f]{8})\.flows$/;

/** File name of a segment; names sort by time. */
export function segmentFileName({ firstTime, run }: SegmentName): string {
  return `${firstTime.toString().padStart(19, "0")}-${run}.flows`;
}

/** The inverse; undefined for a file that is no segment. */
export function parseSegmentName(file: string): SegmentName | undefined {
  const found = NAME.exec(file);
  return found?.[1] && found[2] ? { firstTime: BigInt(found[1]), run: found[2] } : undefined;
}

/** One record as bytes. */
export function encodeRecord(sequence: number, entry: HistoryEntry): Uint8Array {
  return entry.kind === "flow"
    ? framed(KIND_FLOW, sequence, entry.time, flows.encode(entry.flow))
    : framed(KIND_LOST, sequence, entry.time, toBinary(LostEventSchema, entry.event));
}

/** The record that says what the disk did not take. */
export function encodeGap(gap: Gap): Uint8Array {
  const loss = lossIn(gap, gap);
  return framed(KIND_GAP, gap.from, gap.last, loss ? toBinary(LostEventSchema, loss) : new Uint8Array());
}

function framed(kind: number, sequence: number, time: bigint, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt8(kind, 4);
  bytes.writeBigUInt64LE(BigInt(sequence), 5);
  bytes.writeBigUInt64LE(time, 13);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/**
 * The records of a segment in their order. Ends silently at a torn record, as a crash leaves it, and when the file is gone (its age
 * was up). Rejects with the file system's error otherwise.
 */
export async function* readSegment(file: string): AsyncGenerator<RawRecord, void> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 })) {
      const bytes = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      let at = 0;
      while (bytes.length - at >= HEADER_BYTES) {
        const length = bytes.readUInt32LE(at);
        if (length > MAX_PAYLOAD_BYTES) return;
        const end = at + HEADER_BYTES + length;
        if (end > bytes.length) break;
        yield recordAt(bytes, at, end);
        at = end;
      }
      rest = bytes.subarray(at);
    }
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
  }
}

function recordAt(bytes: Buffer, at: number, end: number): RawRecord {
  const kind = bytes.readUInt8(at + 4);
  const sequence = Number(bytes.readBigUInt64LE(at + 5));
  const time = bytes.readBigUInt64LE(at + 13);
  const payload = bytes.subarray(at + HEADER_BYTES, end);
  const lossOf = () => fromBinary(LostEventSchema, payload);
  return {
    sequence,
    time,
    gap: kind === KIND_GAP ? gapOf(sequence, lossOf()) : undefined,
    decode: () =>
      kind === KIND_FLOW ? { kind: "flow", time, flow: fromBinary(FlowSchema, payload) } : { kind: "lost", time, event: lossOf() },
  };
}
