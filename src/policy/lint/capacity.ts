import { entryCount } from "../resolve/direction-state.ts";
import { configOf } from "../world/settings.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import type { Pods } from "./subjects.ts";

/** Entries of a policy map when `bpf-policy-map-max` says nothing else. */
const DEFAULT_ENTRIES = 16_384;

/** Part of the map from which on it is worth saying that it fills up. */
const FULL = 0.8;

/** Pods whose policy needs more rows in the kernel than their map has. */
export function* lintCapacity(world: World, pods: readonly Pods[]): Generator<Finding> {
  const room = Number(configOf(world.objects).data["bpf-policy-map-max"] ?? DEFAULT_ENTRIES) || DEFAULT_ENTRIES;
  for (const pod of pods) {
    const entries = entryCount(pod.policy.state.ingress) + entryCount(pod.policy.state.egress);
    const widest = pod.rules[0]?.policy;
    if (entries <= room * FULL || widest === undefined) continue;
    const over = entries > room;
    const message = `the policies of ${pod.name} need ${entries} policy map entries, ${over ? "but there is room for" : "of"} ${room}`;
    const fix = "use fewer selectors and port ranges, or raise bpf-policy-map-max";
    yield { id: "L18", severity: over ? "error" : "warning", policy: widest, message, fix };
  }
}
