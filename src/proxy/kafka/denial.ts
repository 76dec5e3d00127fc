import { API, NEWEST } from "./api.ts";
import type { KafkaRequest, KafkaTopic } from "./request.ts";
import { KafkaWriter } from "./wire.ts";

/** Error codes (kafka.apache.org/protocol, "Error Codes"). */
const TOPIC_AUTHORIZATION_FAILED = 29;
const GROUP_AUTHORIZATION_FAILED = 30;
const CLUSTER_AUTHORIZATION_FAILED = 31;

export interface Denial {
  readonly errorCode: number;
  /** Null when the sender waits for none. */
  readonly message: Buffer | null;
}

/** The answer that a broker with ACLs would give; undefined when we do not know how it looks: then the connection must end. */
export function denialOf(request: KafkaRequest): Denial | undefined {
  const write = WRITERS[request.apiKey];
  const newest = NEWEST.get(request.apiKey) ?? -1;
  if (write === undefined || request.topics === null || request.apiVersion > newest) return undefined;
  const writer = new KafkaWriter().int32(request.correlationId);
  const errorCode = write(writer, request.apiVersion, request.topics);
  return { errorCode, message: request.silent ? null : writer.message() };
}

type WriteDenial = (writer: KafkaWriter, version: number, topics: readonly KafkaTopic[]) => number;

function throttle(writer: KafkaWriter, present: boolean): void {
  if (present) writer.int32(0);
}

/** Topics with their partitions, each as `partition` writes what follows its number. */
function topicList(writer: KafkaWriter, topics: readonly KafkaTopic[], partition: () => void): void {
  writer.array(topics, ({ name, partitions }) => {
    writer.string(name).array(partitions, (index) => {
      writer.int32(index);
      partition();
    });
  });
}

const WRITERS: Readonly<Record<number, WriteDenial>> = {
  [API.produce](writer, version, topics) {
    topicList(writer, topics, () => {
      writer.int16(TOPIC_AUTHORIZATION_FAILED).int64(-1);
      if (version >= 2) writer.int64(-1);
      if (version >= 5) writer.int64(-1);
      if (version >= 8) writer.int32(0).string(null);
    });
    throttle(writer, version >= 1);
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.fetch](writer, version, topics) {
    throttle(writer, version >= 1);
    topicList(writer, topics, () => {
      writer.int16(TOPIC_AUTHORIZATION_FAILED).int64(-1);
      if (version >= 4) writer.int64(-1);
      if (version >= 5) writer.int64(-1);
      if (version >= 4) writer.int32(-1);
      writer.int32(0);
    });
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.offsets](writer, version, topics) {
    throttle(writer, version >= 2);
    topicList(writer, topics, () => {
      writer.int16(TOPIC_AUTHORIZATION_FAILED);
      if (version === 0) writer.int32(0);
      else writer.int64(-1).int64(-1);
      if (version >= 4) writer.int32(-1);
    });
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.metadata](writer, version, topics) {
    throttle(writer, version >= 3);
    writer.int32(0);
    if (version >= 2) writer.string(null);
    if (version >= 1) writer.int32(-1);
    writer.array(topics, ({ name }) => {
      writer.int16(TOPIC_AUTHORIZATION_FAILED).string(name);
      if (version >= 1) writer.int8(0);
      writer.int32(0);
      if (version >= 8) writer.int32(0);
    });
    if (version >= 8) writer.int32(0);
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.offsetCommit](writer, version, topics) {
    throttle(writer, version >= 3);
    topicList(writer, topics, () => void writer.int16(TOPIC_AUTHORIZATION_FAILED));
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.offsetFetch](writer, version, topics) {
    throttle(writer, version >= 3);
    topicList(writer, topics, () => {
      writer.int64(-1);
      if (version >= 5) writer.int32(-1);
      writer.string("").int16(TOPIC_AUTHORIZATION_FAILED);
    });
    if (version >= 2) writer.int16(0);
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.findCoordinator](writer, version) {
    throttle(writer, version >= 1);
    writer.int16(GROUP_AUTHORIZATION_FAILED);
    if (version >= 1) writer.string(null);
    writer.int32(-1).string("").int32(-1);
    return GROUP_AUTHORIZATION_FAILED;
  },
  [API.joinGroup](writer, version) {
    throttle(writer, version >= 2);
    writer.int16(GROUP_AUTHORIZATION_FAILED).int32(-1).string("").string("").string("").int32(0);
    return GROUP_AUTHORIZATION_FAILED;
  },
  [API.heartbeat]: groupError,
  [API.leaveGroup]: groupError,
  [API.syncGroup](writer, version) {
    groupError(writer, version);
    writer.int32(0);
    return GROUP_AUTHORIZATION_FAILED;
  },
  [API.apiVersions](writer, version) {
    writer.int16(CLUSTER_AUTHORIZATION_FAILED);
    // An empty compact array is the number 1; tags are a list of their own.
    if (version >= 3) writer.int8(1).int32(0).int8(0);
    else writer.int32(0);
    throttle(writer, version >= 1 && version < 3);
    return CLUSTER_AUTHORIZATION_FAILED;
  },
  [API.createTopics](writer, version, topics) {
    throttle(writer, version >= 2);
    writer.array(topics, ({ name }) => {
      writer.string(name).int16(TOPIC_AUTHORIZATION_FAILED);
      if (version >= 1) writer.string(null);
    });
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.deleteTopics](writer, version, topics) {
    throttle(writer, version >= 1);
    writer.array(topics, ({ name }) => void writer.string(name).int16(TOPIC_AUTHORIZATION_FAILED));
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.initProducerId](writer) {
    writer.int32(0).int16(CLUSTER_AUTHORIZATION_FAILED).int64(-1).int16(-1);
    return CLUSTER_AUTHORIZATION_FAILED;
  },
  [API.offsetForLeaderEpoch](writer, version, topics) {
    throttle(writer, version >= 2);
    writer.array(topics, ({ name, partitions }) => {
      writer.string(name).array(partitions, (index) => {
        writer.int16(TOPIC_AUTHORIZATION_FAILED).int32(index);
        if (version >= 1) writer.int32(-1);
        writer.int64(-1);
      });
    });
    return TOPIC_AUTHORIZATION_FAILED;
  },
  [API.addPartitionsToTxn](writer, _version, topics) {
    throttle(writer, true);
    topicList(writer, topics, () => void writer.int16(TOPIC_AUTHORIZATION_FAILED));
    return TOPIC_AUTHORIZATION_FAILED;
  },
};

function groupError(writer: KafkaWriter, version: number): number {
  throttle(writer, version >= 1);
  writer.int16(GROUP_AUTHORIZATION_FAILED);
  return GROUP_AUTHORIZATION_FAILED;
}
