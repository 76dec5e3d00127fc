/** `event_type.type` of flows: the datapath's numbers and two of the agent's own. */
export const EVENT_TYPE = {
  drop: 1,
  debug: 2,
  capture: 3,
  trace: 4,
  "policy-verdict": 5,
  "trace-sock": 7,
  l7: 129,
  agent: 130,
} as const;
