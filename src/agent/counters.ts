import { createTally, type Tally } from "./tally.ts";

/** A call of the API server that was answered; `code` is the HTTP status, or `error`. */
export interface ApiCall {
  readonly host: string;
  readonly method: string;
  /** The kind of path: names are left out. */
  readonly path: string;
  readonly code: string;
  readonly seconds: number;
}

/** What the agent did so far; metrics and status read it. */
export interface Counters {
  /** One attempt of a reconciler at a row or a prune. */
  readonly attempt: (reconciler: string, operation: string, ok: boolean) => void;
  /** All attempts: reconciler, operation, outcome, count. */
  attempts(): Iterable<readonly [reconciler: string, operation: string, ok: boolean, count: number]>;
  /** Seconds from hearing of a rule's change to its being in the kernel. */
  readonly policyDelay: (seconds: number) => void;
  readonly endpoint: (operation: "created" | "deleted" | "failed", seconds: number) => void;
  /** Lines of the log that are warnings or errors. */
  readonly problems: Tally<"level" | "subsystem">;
  /** Kubernetes objects that came, changed and went. */
  readonly events: Tally<"scope" | "action" | "status">;
  readonly policyChanges: Tally<"outcome">;
  readonly apiCalls: Tally<"host" | "method" | "return_code">;
  readonly apiCall: (call: ApiCall) => void;
  onApiCall(observe: (call: ApiCall) => void): void;
  onPolicyDelay(observe: (seconds: number) => void): void;
  onEndpoint(observe: (operation: "created" | "deleted" | "failed", seconds: number) => void): void;
}

export function createCounters(): Counters {
  const counts = new Map<string, { name: string; operation: string; ok: boolean; count: number }>();
  let observePolicy: (seconds: number) => void = () => {};
  let observeEndpoint: (operation: "created" | "deleted" | "failed", seconds: number) => void = () => {};
  let observeCall: (call: ApiCall) => void = () => {};
  const apiCalls: Counters["apiCalls"] = createTally();
  return {
    problems: createTally(),
    events: createTally(),
    policyChanges: createTally(),
    apiCalls,
    apiCall(call) {
      apiCalls.add({ host: call.host, method: call.method, return_code: call.code });
      observeCall(call);
    },
    onApiCall(observe) {
      observeCall = observe;
    },
    attempt(name, operation, ok) {
      const key = `${name} ${operation} ${ok}`;
      const item = counts.get(key) ?? { name, operation, ok, count: 0 };
      item.count += 1;
      counts.set(key, item);
    },
    *attempts() {
      for (const { name, operation, ok, count } of counts.values()) yield [name, operation, ok, count];
    },
    policyDelay: (seconds) => observePolicy(seconds),
    endpoint: (operation, seconds) => observeEndpoint(operation, seconds),
    onPolicyDelay(observe) {
      observePolicy = observe;
    },
    onEndpoint(observe) {
      observeEndpoint = observe;
    },
  };
}
