import { kafkaRoles } from "#policy/l7/kafka-roles.ts";

/** Kafka's request types by number (kafka.apache.org/protocol, "Api Keys"), in the spelling of Cilium's rules. */
const NAMES: readonly string[] = [
  ...["produce", "fetch", "offsets", "metadata", "leaderandisr", "stopreplica", "updatemetadata", "controlledshutdown", "offsetcommit"],
  ...["offsetfetch", "findcoordinator", "joingroup", "heartbeat", "leavegroup", "syncgroup", "describegroups", "listgroups"],
  ...["saslhandshake", "apiversions", "createtopics", "deletetopics", "deleterecords", "initproducerid", "offsetforleaderepoch"],
  ...["addpartitionstotxn", "addoffsetstotxn", "endtxn", "writetxnmarkers", "txnoffsetcommit", "describeacls", "createacls", "deleteacls"],
  ...["describeconfigs", "alterconfigs", "alterreplicalogdirs", "describelogdirs", "saslauthenticate", "createpartitions"],
];

export function apiName(key: number): string {
  return NAMES[key] ?? `api-${key}`;
}

export const API = {
  ...{ produce: 0, fetch: 1, offsets: 2, metadata: 3, offsetCommit: 8, offsetFetch: 9, findCoordinator: 10, joinGroup: 11 },
  ...{ heartbeat: 12, leaveGroup: 13, syncGroup: 14, saslHandshake: 17, apiVersions: 18, createTopics: 19, deleteTopics: 20 },
  ...{ initProducerId: 22, offsetForLeaderEpoch: 23, addPartitionsToTxn: 24, saslAuthenticate: 36 },
} as const;

const numbersOf = (names: readonly string[]): ReadonlySet<number> => new Set(names.map((name) => NAMES.indexOf(name)));

/** What a role stands for. */
export const ROLES: Readonly<Record<"produce" | "consume", ReadonlySet<number>>> = {
  produce: numbersOf(kafkaRoles.produce),
  consume: numbersOf(kafkaRoles.consume),
};

/** Requests about topics, or about resources that may be topics, that are not read for them. */
const UNREAD_TOPICS = new Set([4, 5, 6, 21, 27, 28, 32, 33, 34, 35, 37]);

/** Of the requests that came after those with a name here, the few about no topic: groups, the cluster, transactions and telemetry. */
const WITHOUT_TOPICS = new Set([42, 60, 66, 71, 72]);

/** Whether a request may be about topics that nobody reads: no rule with a topic matches it. What is not known here may be. */
export function namesUnreadTopics(key: number): boolean {
  return UNREAD_TOPICS.has(key) || (key >= NAMES.length && !WITHOUT_TOPICS.has(key));
}

/**
 * The newest version of each request that the proxy reads; what brokers offer is cut down to it. Later ones name topics by numbers that only
 * the broker knows (Fetch 13), or leave them out in favour of a session (Fetch 7), or are encoded in another way.
 */
export const NEWEST: ReadonlyMap<number, number> = new Map([
  ...([
    [API.produce, 8],
    [API.fetch, 6],
    [API.offsets, 5],
    [API.metadata, 8],
    [API.offsetCommit, 7],
    [API.offsetFetch, 5],
  ] as const),
  ...([
    [API.findCoordinator, 2],
    [API.joinGroup, 5],
    [API.heartbeat, 3],
    [API.leaveGroup, 2],
    [API.syncGroup, 3],
  ] as const),
  ...([
    [API.apiVersions, 4],
    [API.createTopics, 4],
    [API.deleteTopics, 3],
    [API.initProducerId, 1],
    [API.offsetForLeaderEpoch, 3],
    [API.addPartitionsToTxn, 2],
  ] as const),
]);
