import { isDeepStrictEqual } from "node:util";
import type { Cluster } from "../cluster.ts";
import type { AnyObject } from "../objects.ts";

type WithStatus = AnyObject & { status?: unknown };

/** Writes the status when it differs from what is there. Zeros are left out, as Kubernetes does, but for the `required` fields. */
export function writeStatus(
  cluster: Cluster,
  resource: string,
  object: WithStatus,
  status: object,
  required: readonly string[] = [],
): void {
  const wanted = Object.fromEntries(
    Object.entries(status).filter(([key, value]) => required.includes(key) || (value !== undefined && value !== 0)),
  );
  if (isDeepStrictEqual(object.status ?? {}, wanted)) return;
  cluster.update(resource, { ...object, status: wanted }, { subresource: "status" });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly lastUpdateTime?: string;
}

/** The condition, with the time of its last transition kept when its status is as before. */
export function condition<T extends Condition>(before: readonly T[] | undefined, next: Condition, now = new Date()): Condition {
  const last = before?.find((one) => one.type === next.type);
  const time = last?.status === next.status && last.lastTransitionTime ? last.lastTransitionTime : timestamp(now);
  return { ...next, lastTransitionTime: time };
}

/** A time as Kubernetes writes it: whole seconds, UTC. */
export function timestamp(date = new Date()): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
