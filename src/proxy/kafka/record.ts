import { accessBase } from "../access-record.ts";
import type { AccessBase, KafkaAccess } from "../protocol.ts";
import type { Session } from "../session.ts";
import { apiName } from "./api.ts";
import type { KafkaRequest } from "./request.ts";

/** A request is judged as a whole, so it is held as a whole; brokers take 1 MiB of records unless told otherwise. */
export const MAX_REQUEST = 16 * 1024 * 1024;

/** For what never became a request. */
export const UNREADABLE_KAFKA: KafkaRequest = {
  ...{ apiKey: -1, apiVersion: 0, correlationId: 0, clientId: "" },
  topics: [],
  silent: false,
};

/** The record of a request; `errorCode` is that of the proxy's own answer. */
export function kafkaRecord(
  session: Session,
  { apiKey, apiVersion, correlationId, topics }: KafkaRequest,
  outcome: Pick<AccessBase, "verdict" | "origins" | "denied" | "error">,
  errorCode: number,
): KafkaAccess {
  const policyRevision = session.policy()?.revision ?? 0;
  const topic = (topics ?? []).map(({ name }) => name).join(",");
  return {
    ...accessBase(session.scope(), { kind: "request", policyRevision, ...outcome }),
    type: "kafka-access",
    kafka: { apiKey: apiKey < 0 ? "" : apiName(apiKey), apiVersion, correlationId, topic, errorCode },
  };
}
