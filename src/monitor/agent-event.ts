import { type AgentEvent, type AgentPayload, nowNanoseconds } from "./events.ts";

/** Something the agent did, as an event of this moment. */
export function agentEvent(payload: AgentPayload, time: bigint = nowNanoseconds()): AgentEvent {
  return { type: "agent", time, payload };
}
