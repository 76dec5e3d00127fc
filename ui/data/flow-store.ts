import type { Flow } from "../domain/flow.ts";

/** Flows a page keeps; the oldest go first. */
export const KEPT = 5000;
/** The page is drawn that often at most, however many flows come. */
const NOTIFY_MS = 250;

export type Connection = "connecting" | "live" | "past" | "lost";

export interface FlowState {
  readonly flows: readonly Flow[];
  readonly connection: Connection;
  /** Events that Hubble says it lost. */
  readonly lost: number;
  /** Why there is no connection. */
  readonly failure: string;
}

/** Which flows to get: since a time and on, or between two times. Milliseconds since 1970. */
export interface FlowQuery {
  readonly since: number;
  readonly until?: number;
  /** Empty: all. */
  readonly namespace: string;
}

interface Message {
  readonly flow?: Flow;
  readonly lost_events?: { readonly num_events_lost?: string };
}

/** Gets flows from our server. `show` is called with what there is, a few times a second at most. Closing ends it. */
export function openFlows({ since, until, namespace }: FlowQuery, show: (state: FlowState) => void): { close(): void } {
  const flows: Flow[] = [];
  let state: Omit<FlowState, "flows"> = { connection: "connecting", lost: 0, failure: "" };
  let timer: ReturnType<typeof setTimeout> | undefined;
  let seen = new Set<string>();
  const changed = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      show({ ...state, flows: [...flows] });
    }, NOTIFY_MS);
  };
  const set = (change: Partial<FlowState>) => {
    state = { ...state, ...change };
    changed();
  };
  const query = new URLSearchParams({
    since: String(since),
    ...(until === undefined ? {} : { until: String(until) }),
    ...(namespace === "" ? {} : { namespace }),
  });
  const source = new EventSource(`/api/flows?${query}`);
  source.addEventListener("open", () => set({ connection: until === undefined ? "live" : "past", failure: "" }));
  // The browser connects again by itself, and gets flows anew that it has already: they are told by their uuid.
  source.addEventListener("error", () => set({ connection: "lost" }));
  source.addEventListener("failure", ({ data }) => set({ connection: "lost", failure: String(JSON.parse(String(data))) }));
  source.addEventListener("end", () => {
    source.close();
    changed();
  });
  source.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    if (message.lost_events) set({ lost: state.lost + Number(message.lost_events.num_events_lost ?? 0) });
    const { flow } = message;
    if (!flow || (flow.uuid && seen.has(flow.uuid))) return;
    if (flow.uuid) seen.add(flow.uuid);
    insert(flows, flow);
    if (flows.length > KEPT) flows.splice(0, KEPT / 10);
    if (seen.size > 2 * KEPT) seen = new Set(flows.flatMap(({ uuid }) => uuid ?? []));
    changed();
  });
  return {
    close() {
      clearTimeout(timer);
      source.close();
    },
  };
}

// Denied flows come first and the others after them: what is older than the last goes to its place.
function insert(flows: Flow[], flow: Flow): void {
  const time = flow.time ?? "";
  let at = flows.length;
  while (at > 0 && (flows[at - 1]?.time ?? "") > time) at--;
  flows.splice(at, 0, flow);
}
