import { errorMessage } from "#runtime/errors.ts";
import type { KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";

/** Events are news: they go an hour after they last happened, as in every cluster. */
const KEPT_MS = 3_600_000;
const EVERY_MS = 60_000;

/** Removes old events, now and every minute. */
export function startEventExpiry(core: Core): Disposable {
  const sweep = () => {
    try {
      const now = core.now().getTime();
      for (const event of core.store.list("events")) if (now - lastSeen(event) > KEPT_MS) core.store.remove("events", event);
    } catch (thrown) {
      core.log.warn("cannot remove old events, trying again in a minute", { error: errorMessage(thrown) });
    }
  };
  sweep();
  const timer = setInterval(sweep, EVERY_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function lastSeen(event: KubeObject): number {
  const series = event.series as { lastObservedTime?: string } | undefined;
  const times = [series?.lastObservedTime, event.lastTimestamp, event.eventTime, event.metadata.creationTimestamp];
  return Math.max(...times.map((time) => (typeof time === "string" ? Date.parse(time) : 0)));
}
