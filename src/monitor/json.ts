import { type MonitorEvent, nowNanoseconds } from "./events.ts";

/** One event as one line of JSON, without the line's end: bigints as strings, bytes as `{"base64": …}`. */
export function stringifyMonitorEvent(event: MonitorEvent): string {
  return JSON.stringify(event, (_, value: unknown) => {
    if (typeof value === "bigint") return value.toString();
    if (value instanceof Uint8Array) return { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
    return value;
  });
}

const TYPES: ReadonlySet<string> = new Set(["drop", "trace", "policy-verdict", "trace-sock", "l7", "agent", "lost"]);

/** Reads back what `stringifyMonitorEvent` wrote, after `JSON.parse`. Undefined for what is no event. */
export function monitorEventFromJson(value: unknown): MonitorEvent | undefined {
  if (!isRecord(value) || typeof value.type !== "string" || !TYPES.has(value.type)) return undefined;
  const time = nanoseconds(value.time) ?? nowNanoseconds();
  switch (value.type) {
    case "trace-sock":
      return {
        ...value,
        time,
        socketCookie: nanoseconds(value.socketCookie) ?? 0n,
        cgroupId: nanoseconds(value.cgroupId) ?? 0n,
      } as MonitorEvent;
    case "drop":
    case "trace":
    case "policy-verdict":
      // JSON has no undefined: whether it is a reply may be a field that is missing.
      return { isReply: undefined, ...value, time, packet: bytes(value.packet) } as MonitorEvent;
    case "lost":
      return { source: "observer", ...value, time } as MonitorEvent;
    default:
      return { ...value, time } as MonitorEvent;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function nanoseconds(value: unknown): bigint | undefined {
  return typeof value === "string" && /^\d+$/.test(value) ? BigInt(value) : undefined;
}

function bytes(value: unknown): Uint8Array {
  return isRecord(value) && typeof value.base64 === "string" ? new Uint8Array(Buffer.from(value.base64, "base64")) : new Uint8Array();
}
