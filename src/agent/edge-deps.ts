import type { SelfNode } from "#node/self.ts";
import type { Health } from "#runtime/health.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Counters } from "./counters.ts";
import type { EndpointControl } from "./endpoint-control.ts";
import type { Kernel } from "./kernel.ts";
import type { Loops } from "./loops.ts";
import type { MonitorHub } from "./monitor-hub.ts";
import type { Phase } from "./phase.ts";
import type { ProxyClient } from "./proxy-client.ts";
import type { AgentState } from "./state.ts";
import type { Usage } from "./usage.ts";

/** Everything an answer about the agent is made of. */
export interface EdgeDeps {
  readonly log: Logger;
  readonly health: Health;
  readonly state: AgentState;
  readonly kernel: Kernel;
  readonly loops: Loops;
  readonly proxy: ProxyClient;
  readonly hub: MonitorHub;
  readonly control: EndpointControl;
  readonly self: SelfNode;
  readonly phase: Phase;
  readonly usage: Usage;
  readonly counters: Counters;
  /** How much fits into maps whose size is a setting. */
  readonly limits: { readonly policyEntries: number };
  /** Version of the API server. */
  readonly kubernetes: string;
}
