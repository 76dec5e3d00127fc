import { API, NEWEST } from "./api.ts";
import { KafkaFormatError, KafkaReader } from "./wire.ts";

export interface KafkaTopic {
  readonly name: string;
  readonly partitions: readonly number[];
}

export interface KafkaRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string;
  /** The topics it names; null when it has some that cannot be read in this version. */
  readonly topics: readonly KafkaTopic[] | null;
  /** The sender waits for no answer (produce with acks=0). */
  readonly silent: boolean;
}

/** Reads a whole request (without its size). Throws `KafkaFormatError` when it is none, or more than one. */
export function readRequest(message: Buffer): KafkaRequest {
  const reader = new KafkaReader(message);
  const [apiKey, apiVersion, correlationId] = [reader.int16(), reader.int16(), reader.int32()];
  if (apiKey < 0 || apiVersion < 0) throw new KafkaFormatError("not a Kafka request");
  const head = { apiKey, apiVersion, correlationId, clientId: reader.string() ?? "" };
  const read = READERS[apiKey];
  if (read === undefined) return { ...head, topics: [], silent: false };
  if (apiVersion > (NEWEST.get(apiKey) ?? -1)) return { ...head, topics: null, silent: apiKey === API.produce && isSilent(reader) };
  const body = read(reader, apiVersion);
  if (!reader.done) throw new KafkaFormatError("the request is longer than it says");
  return { ...head, topics: body.topics, silent: body.silent ?? false };
}

/** Of a produce request that is not read for its topics (version 9 or later): nobody may wait for an answer that never comes. */
function isSilent(reader: KafkaReader): boolean {
  reader.tags();
  reader.skip(Math.max(reader.varint() - 1, 0));
  return reader.int16() === 0;
}

interface Body {
  readonly topics: readonly KafkaTopic[];
  readonly silent?: boolean;
}

type ReadBody = (reader: KafkaReader, version: number) => Body;

function topicsOf(reader: KafkaReader, partition: () => number): KafkaTopic[] {
  return reader.array(() => ({ name: nameOf(reader), partitions: reader.array(partition) ?? [] })) ?? [];
}

function nameOf(reader: KafkaReader): string {
  const name = reader.string();
  if (name === null) throw new KafkaFormatError("a topic without a name");
  return name;
}

/** A partition's number, and then `more` bytes. */
function partitionThen(reader: KafkaReader, more: number): () => number {
  return () => {
    const index = reader.int32();
    reader.skip(more);
    return index;
  };
}

const READERS: Readonly<Record<number, ReadBody>> = {
  [API.produce](reader, version) {
    if (version >= 3) reader.string();
    const acks = reader.int16();
    reader.int32();
    const partition = () => {
      const index = reader.int32();
      reader.bytes();
      return index;
    };
    return { topics: topicsOf(reader, partition), silent: acks === 0 };
  },
  [API.fetch](reader, version) {
    reader.skip(12 + (version >= 3 ? 4 : 0) + (version >= 4 ? 1 : 0));
    return { topics: topicsOf(reader, partitionThen(reader, version >= 5 ? 20 : 12)) };
  },
  [API.offsets](reader, version) {
    reader.skip(4 + (version >= 2 ? 1 : 0));
    return { topics: topicsOf(reader, partitionThen(reader, (version >= 4 ? 4 : 0) + 8 + (version === 0 ? 4 : 0))) };
  },
  [API.metadata](reader, version) {
    const names = reader.array(() => nameOf(reader)) ?? [];
    reader.skip((version >= 4 ? 1 : 0) + (version >= 8 ? 2 : 0));
    return { topics: names.map((name) => ({ name, partitions: [] })) };
  },
  [API.offsetCommit](reader, version) {
    reader.string();
    if (version >= 1) {
      reader.int32();
      reader.string();
    }
    if (version >= 7) reader.string();
    if (version >= 2 && version <= 4) reader.skip(8);
    const partition = () => {
      const index = reader.int32();
      reader.skip(8 + (version >= 6 ? 4 : 0) + (version === 1 ? 8 : 0));
      reader.string();
      return index;
    };
    return { topics: topicsOf(reader, partition) };
  },
  [API.offsetFetch](reader) {
    reader.string();
    return { topics: topicsOf(reader, () => reader.int32()) };
  },
  [API.createTopics](reader, version) {
    const topics = reader.array(() => {
      const name = nameOf(reader);
      reader.skip(6);
      reader.array(() => {
        reader.int32();
        reader.array(() => reader.int32());
      });
      reader.array(() => {
        reader.string();
        reader.string();
      });
      return { name, partitions: [] };
    });
    reader.skip(4 + (version >= 1 ? 1 : 0));
    return { topics: topics ?? [] };
  },
  [API.deleteTopics](reader) {
    const names = reader.array(() => nameOf(reader)) ?? [];
    reader.skip(4);
    return { topics: names.map((name) => ({ name, partitions: [] })) };
  },
  [API.offsetForLeaderEpoch](reader, version) {
    reader.skip(version >= 3 ? 4 : 0);
    return { topics: topicsOf(reader, partitionThen(reader, version >= 2 ? 8 : 4)) };
  },
  [API.addPartitionsToTxn](reader) {
    reader.string();
    reader.skip(10);
    return { topics: topicsOf(reader, () => reader.int32()) };
  },
};
