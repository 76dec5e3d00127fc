import type { DnsAccessMessage } from "#proxy/dns/protocol.ts";
import type { AccessRecord } from "#proxy/protocol.ts";
import type { L7Event } from "./events.ts";

/** An access record as an event. */
export function l7Event(access: AccessRecord | DnsAccessMessage): L7Event {
  return { type: "l7", time: BigInt(Math.round(access.time * 1000)) * 1000n, access };
}
