import { apiName, namesUnreadTopics, ROLES } from "../kafka/api.ts";
import type { KafkaRequest } from "../kafka/request.ts";
import type { AccessDenial, KafkaRule, Mismatched, NearMiss, PeerRule, RuleOrigin } from "../protocol.ts";
import { parserOf } from "./peer-rules.ts";

export type KafkaDecision =
  | { readonly allowed: true; readonly origins: readonly RuleOrigin[] }
  | { readonly allowed: false; readonly denied: AccessDenial };

const MAX_NEAREST = 3;

/** The union of the rules for the peer, as Cilium had it: every topic of a request must be allowed by some rule that fits the request. */
export function decideKafka(rules: readonly PeerRule[], request: KafkaRequest): KafkaDecision {
  const open = rules.find((rule) => !rule.kafka && (parserOf(rule) ?? "kafka") === "kafka");
  if (open !== undefined) return { allowed: true, origins: open.origins };
  const missing = new Set(request.topics?.map(({ name }) => name));
  const origins: RuleOrigin[] = [];
  for (const rule of rules) {
    for (const kafka of rule.kafka ?? []) {
      if (mismatchesOf(kafka, request).length > 0) continue;
      origins.push(...rule.origins);
      const everyTopic = kafka.topic === undefined || request.topics?.length === 0;
      if (everyTopic) return { allowed: true, origins: rule.origins };
      missing.delete(kafka.topic);
      if (missing.size === 0 && request.topics !== null) return { allowed: true, origins };
    }
  }
  return { allowed: false, denied: denialOf(rules, request, [...missing]) };
}

/** Everything but the topics of a request that the rule does not name: other rules may name those. */
function mismatchesOf(rule: KafkaRule, request: KafkaRequest): Mismatched[] {
  const found: Mismatched[] = [];
  const name = apiName(request.apiKey);
  const compare = (field: Mismatched["field"], wanted: string | undefined, given: string) => {
    if (wanted !== undefined && wanted !== given) found.push({ field, wanted, found: given });
  };
  if (rule.role !== undefined && !ROLES[rule.role].has(request.apiKey)) found.push({ field: "role", wanted: rule.role, found: name });
  compare("apiKey", rule.apiKey?.toLowerCase(), name);
  compare("apiVersion", rule.apiVersion, String(request.apiVersion));
  compare("clientID", rule.clientID, request.clientId);
  const unread = request.topics === null || namesUnreadTopics(request.apiKey);
  if (rule.topic !== undefined && unread) found.push({ field: "topic", wanted: rule.topic, found: "unknown in this request" });
  return found;
}

function denialOf(rules: readonly PeerRule[], request: KafkaRequest, missing: readonly string[]): AccessDenial {
  const nearest = rules.flatMap((rule) =>
    (rule.kafka ?? []).map((kafka, kafkaIndex): NearMiss => {
      const mismatches = mismatchesOf(kafka, request);
      const topics = kafka.topic === undefined ? [] : missing.filter((topic) => topic !== kafka.topic);
      if (topics.length > 0) mismatches.push({ field: "topic", wanted: kafka.topic ?? "", found: topics.join(",") });
      return { origins: rule.origins, kafkaIndex, mismatches };
    }),
  );
  const sorted = nearest.filter(({ mismatches }) => mismatches.length > 0).sort((a, b) => a.mismatches.length - b.mismatches.length);
  return { reason: "policy", origins: rules.flatMap((rule) => rule.origins), nearest: sorted.slice(0, MAX_NEAREST) };
}
