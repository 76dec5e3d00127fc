/** How far the agent is: nothing decided yet, old endpoints taken over, or open for new pods. */
export interface Phase {
  is: "starting" | "restored" | "ready";
  /** Why no pod can be added; undefined when ready. */
  readonly unavailable: () => string | undefined;
}

export function createPhase(): Phase {
  const phase: Phase = {
    is: "starting",
    unavailable: () => (phase.is === "ready" ? undefined : `the agent is not ready yet (${phase.is}); the API server may be away`),
  };
  return phase;
}
