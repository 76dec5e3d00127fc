import { DropReason, TrafficDirection, Verdict } from "#api/gen/flow/flow_pb.ts";

const VERDICT_NAMES = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));
const DIRECTION_NAMES = new Map<number, string>(Object.entries(TrafficDirection).map(([name, value]) => [value, name]));
const REASON_NAMES = new Map<number, string>(Object.entries(DropReason).map(([name, value]) => [value, name]));

/** The name of a value of a generated enum; its number when it has none. */
export function enumName(names: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}

/** `DROPPED`. */
export function verdictName(verdict: number): string {
  return VERDICT_NAMES.get(verdict) ?? String(verdict);
}

/** `POLICY_DENIED`. */
export function reasonName(reason: number): string {
  return REASON_NAMES.get(reason) ?? String(reason);
}

/** `INGRESS`; empty when unknown. */
export function directionName(direction: TrafficDirection): string {
  return direction === TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN ? "" : (DIRECTION_NAMES.get(direction) ?? String(direction));
}
