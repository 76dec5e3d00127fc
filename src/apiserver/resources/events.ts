import type { JsonObject, KubeObject } from "../object.ts";

/** The same events are served as `v1` (stored) and as `events.k8s.io/v1`, which names some fields differently. */
const RENAMED: readonly (readonly [core: string, events: string])[] = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["reportingComponent", "reportingController"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
];

function rename(object: KubeObject, from: 0 | 1): KubeObject {
  const names = new Map(RENAMED.map((pair) => [pair[from], pair[1 - from] ?? ""]));
  const renamed: JsonObject = {};
  for (const [key, value] of Object.entries(object)) renamed[names.get(key) ?? key] = value;
  return renamed as unknown as KubeObject;
}

export const eventConversion = {
  toStorage: (object: KubeObject): KubeObject => rename(object, 1),
  fromStorage: (object: KubeObject): KubeObject => rename(object, 0),
};
