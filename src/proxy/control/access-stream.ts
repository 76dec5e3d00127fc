import type { DnsAccessMessage } from "../dns/protocol.ts";
import type { AccessRecord } from "../protocol.ts";
import { accessLine, type RepeatedRecord } from "./access-line.ts";

/** What the proxies of the node saw. */
export type ProxyRecord = AccessRecord | RepeatedRecord | DnsAccessMessage;

/** Where records go: an agent's connection. `false` from write: no more until `drain`. */
export interface RecordSink {
  write(lines: string): boolean;
}

export interface AccessStream {
  push(record: ProxyRecord): void;
  /** The agent that is there now; undefined when it went away. */
  connect(sink: RecordSink | undefined): void;
  /** The sink takes more again. */
  drained(): void;
  /** Sends what is waiting, if somebody is there. */
  flush(): void;
  readonly waiting: number;
  /** Records dropped since the start. */
  readonly lost: number;
}

/**
 * Keeps records until the agent takes them, at most `capacity`; beyond that the oldest go, and the agent is told how many. Lines are made and
 * written in batches: a write for each would cost more than the request.
 */
export function createAccessStream(capacity: number, schedule: (flush: () => void) => void): AccessStream {
  let ring: (ProxyRecord | undefined)[] = [];
  let head = 0;
  let lost = 0;
  let unreported = 0;
  let scheduled = false;
  let blocked = false;
  let sink: RecordSink | undefined;
  const waiting = () => ring.length - head;
  const flush = () => {
    scheduled = false;
    while (sink !== undefined && !blocked && (waiting() > 0 || unreported > 0)) {
      const batch = ring.slice(head, head + BATCH);
      head += batch.length;
      if (head >= ring.length) [ring, head] = [[], 0];
      let lines = unreported > 0 ? accessLine({ type: "lost", count: unreported }) : "";
      unreported = 0;
      for (const record of batch) if (record !== undefined) lines += accessLine(record);
      blocked = !sink.write(lines);
    }
  };
  const wake = () => {
    if (scheduled || sink === undefined || blocked) return;
    scheduled = true;
    schedule(flush);
  };
  return {
    push(record) {
      ring.push(record);
      if (waiting() > capacity) {
        ring[head++] = undefined;
        lost++;
        unreported++;
        if (head > capacity) [ring, head] = [ring.slice(head), 0];
      }
      wake();
    },
    connect(next) {
      sink = next;
      blocked = false;
      wake();
    },
    drained() {
      blocked = false;
      wake();
    },
    flush,
    get waiting() {
      return waiting();
    },
    get lost() {
      return lost;
    },
  };
}

const BATCH = 256;
