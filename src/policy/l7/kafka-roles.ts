const both = ["metadata", "apiversions", "saslhandshake", "saslauthenticate"];

/** The request types that a role of a Kafka rule stands for, in the spelling of Cilium's rules. */
export const kafkaRoles: Readonly<Record<"produce" | "consume", readonly string[]>> = {
  produce: ["produce", "initproducerid", ...both],
  consume: [
    ...["fetch", "offsets", "offsetcommit", "offsetfetch", "findcoordinator", "joingroup", "heartbeat", "leavegroup", "syncgroup"],
    "offsetforleaderepoch",
    ...both,
  ],
};
