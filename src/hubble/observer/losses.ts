import { type LostEvent, LostEventSource } from "#api/gen/flow/events_pb.ts";
import { nanosecondsOf, timestampOf } from "../parser/messages.ts";

const INTERVAL_NS = 1_000_000_000n;

/** Folds reports of losses, so that a client gets one a second at most for each source, and loses none of the count. */
export interface LossFolder {
  /** Adds a report. */
  add(event: LostEvent): void;
  /** What is due now; with `all` everything held back. */
  take(now: bigint, all?: boolean): LostEvent[];
}

/** A folder for one stream. */
export function createLossFolder(): LossFolder {
  const held = new Map<LostEventSource, LostEvent>();
  const sentAt = new Map<LostEventSource, bigint>();
  return {
    add(event) {
      const before = held.get(event.source);
      held.set(
        event.source,
        before === undefined ? event : { ...event, numEventsLost: before.numEventsLost + event.numEventsLost, first: before.first },
      );
    },
    take(now, all = false) {
      const due: LostEvent[] = [];
      if (held.size === 0) return due;
      for (const [source, event] of held) {
        if (!all && now - (sentAt.get(source) ?? 0n) < INTERVAL_NS) continue;
        due.push(event);
        held.delete(source);
        sentAt.set(source, now);
      }
      return due;
    },
  };
}

/** The report of a reader that was too slow for the ring. */
export function ringLoss(count: number, time: bigint): LostEvent {
  const at = timestampOf(time);
  return { $typeName: "flow.LostEvent", source: LostEventSource.HUBBLE_RING_BUFFER, numEventsLost: BigInt(count), first: at, last: at };
}

/** When a report happened. */
export function lossTime(event: LostEvent): bigint {
  return nanosecondsOf(event.last ?? event.first);
}
