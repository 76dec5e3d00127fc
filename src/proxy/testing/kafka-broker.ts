import type { Socket } from "node:net";
import { API } from "../kafka/api.ts";
import { KafkaFrames } from "../kafka/frames.ts";
import { KafkaReader, KafkaWriter } from "../kafka/wire.ts";

/** What this broker offers; some of it newer than the proxy reads. */
const OFFERED: readonly (readonly [key: number, min: number, max: number])[] = [
  ...([
    [API.produce, 3, 9],
    [API.fetch, 4, 12],
    [API.offsets, 1, 1],
    [API.metadata, 1, 1],
    [API.offsetCommit, 3, 3],
  ] as const),
  ...([
    [API.offsetFetch, 3, 3],
    [API.findCoordinator, 1, 1],
    [API.joinGroup, 2, 2],
    [API.heartbeat, 1, 1],
  ] as const),
  ...([
    [API.leaveGroup, 1, 1],
    [API.syncGroup, 1, 1],
    [API.apiVersions, 0, 2],
  ] as const),
];

/** A small broker: one node, topics of one partition made at their first use, consumer groups of one member. */
export interface KafkaBroker {
  serve(socket: Socket): void;
  /** Where clients are told to dial. */
  host: string;
  port: number;
  /** `apiKey/version` of every request, in order. */
  readonly seen: string[];
}

interface Call {
  readonly version: number;
  readonly reader: KafkaReader;
  readonly writer: KafkaWriter;
}

export function createKafkaBroker(): KafkaBroker {
  const topics = new Map<string, Buffer[]>();
  const batchesOf = (name: string) => {
    const found = topics.get(name) ?? [];
    topics.set(name, found);
    return found;
  };
  const nextOffset = (name: string) => {
    const last = batchesOf(name).at(-1);
    // Base offset and last offset delta of a record batch.
    return last === undefined ? 0 : Number(last.readBigInt64BE(0)) + last.readInt32BE(23) + 1;
  };
  const broker: KafkaBroker = {
    host: "127.0.0.1",
    port: 0,
    seen: [],
    serve(socket) {
      const frames = new KafkaFrames(1 << 24);
      socket.on("data", (chunk: Buffer) => {
        frames.add(chunk);
        for (let size = frames.nextSize; typeof size === "number" && frames.length >= size; size = frames.nextSize) {
          const answer = answerTo(frames.take(size).subarray(4));
          if (answer !== undefined) socket.write(answer);
        }
      });
      socket.on("end", () => socket.end());
    },
  };
  const answerTo = (message: Buffer): Buffer | undefined => {
    const reader = new KafkaReader(message);
    const [key, version, correlationId] = [reader.int16(), reader.int16(), reader.int32()];
    reader.string();
    broker.seen.push(`${key}/${version}`);
    const writer = new KafkaWriter().int32(correlationId);
    ANSWERS[key]?.({ version, reader, writer });
    return writer.message();
  };
  const perPartition = ({ reader, writer }: Call, partition: (name: string, index: number) => void) => {
    writer.array(
      reader.array(() => ({ name: reader.string() ?? "", indexes: reader.array(() => reader.int32()) ?? [] })) ?? [],
      (topic) => {
        writer.string(topic.name).array(topic.indexes, (index) => partition(topic.name, index));
      },
    );
  };
  const ANSWERS: Record<number, (call: Call) => void> = {
    [API.apiVersions]({ version, writer }) {
      writer.int16(0).array(OFFERED, ([key, min, max]) => void writer.int16(key).int16(min).int16(max));
      if (version >= 1) writer.int32(0);
    },
    [API.metadata]({ reader, writer }) {
      const names = reader.array(() => reader.string() ?? "") ?? [...topics.keys()];
      writer.array([0], () => void writer.int32(0).string(broker.host).int32(broker.port).string(null)).int32(0);
      writer.array(names, (name) => {
        writer.int16(0).string(name).int8(0);
        writer.array(
          [0],
          () =>
            void writer
              .int16(0)
              .int32(0)
              .int32(0)
              .array([0], (id) => void writer.int32(id))
              .array([0], (id) => void writer.int32(id)),
        );
      });
    },
    [API.produce]({ reader, writer }) {
      reader.string();
      reader.skip(6);
      const stored = reader.array(() => ({
        name: reader.string() ?? "",
        partitions: reader.array(() => [reader.int32(), reader.bytes()] as const) ?? [],
      }));
      writer.array(stored ?? [], ({ name, partitions }) => {
        writer.string(name).array(partitions, ([index, records]) => {
          const base = nextOffset(name);
          const batch = Buffer.from(records);
          batch.writeBigInt64BE(BigInt(base), 0);
          batchesOf(name).push(batch);
          writer.int32(index).int16(0).int64(base).int64(-1).int64(0);
        });
      });
      writer.int32(0);
    },
    [API.fetch]({ version, reader, writer }) {
      reader.skip(17);
      const wanted = reader.array(() => {
        const name = reader.string() ?? "";
        const offsets = reader.array(() => {
          reader.int32();
          const offset = reader.int64();
          reader.skip(version >= 5 ? 12 : 4);
          return offset;
        });
        return { name, from: offsets?.[0] ?? 0 };
      });
      writer.int32(0).array(wanted ?? [], ({ name, from }) => {
        const records = Buffer.concat(batchesOf(name).filter((batch) => Number(batch.readBigInt64BE(0)) + batch.readInt32BE(23) >= from));
        writer.string(name).array([0], (index) => {
          writer.int32(index).int16(0).int64(nextOffset(name)).int64(nextOffset(name));
          if (version >= 5) writer.int64(0);
          writer.int32(0).bytes(records);
        });
      });
    },
    [API.offsets](call) {
      call.reader.skip(4);
      const wanted = call.reader.array(() => ({
        name: call.reader.string() ?? "",
        times: call.reader.array(() => [call.reader.int32(), call.reader.int64()] as const) ?? [],
      }));
      call.writer.array(wanted ?? [], ({ name, times }) => {
        call.writer.string(name).array(
          times,
          ([index, time]) =>
            void call.writer
              .int32(index)
              .int16(0)
              .int64(-1)
              .int64(time === -2 ? 0 : nextOffset(name)),
        );
      });
    },
    [API.findCoordinator]: ({ writer }) => void writer.int32(0).int16(0).string(null).int32(0).string(broker.host).int32(broker.port),
    [API.joinGroup]({ reader, writer }) {
      reader.string();
      reader.skip(8);
      reader.string();
      reader.string();
      const [protocol] = reader.array(() => ({ name: reader.string(), metadata: reader.bytes() })) ?? [];
      writer
        .int32(0)
        .int16(0)
        .int32(1)
        .string(protocol?.name ?? "")
        .string("m")
        .string("m");
      writer.array([0], () => void writer.string("m").bytes(protocol?.metadata ?? Buffer.alloc(0)));
    },
    [API.syncGroup]({ reader, writer }) {
      reader.string();
      reader.int32();
      reader.string();
      const [mine] = reader.array(() => ({ member: reader.string(), assignment: reader.bytes() })) ?? [];
      writer
        .int32(0)
        .int16(0)
        .bytes(mine?.assignment ?? Buffer.alloc(0));
    },
    [API.heartbeat]: ({ writer }) => void writer.int32(0).int16(0),
    [API.leaveGroup]: ({ writer }) => void writer.int32(0).int16(0),
    [API.offsetFetch](call) {
      call.reader.string();
      call.writer.int32(0);
      perPartition(call, (_, index) => void call.writer.int32(index).int64(-1).string("").int16(0));
      call.writer.int16(0);
    },
    [API.offsetCommit]: ({ writer }) => void writer.int32(0).int32(0),
  };
  return broker;
}
