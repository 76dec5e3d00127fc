import { type Flow, Verdict } from "#api/gen/flow/flow_pb.ts";
import { createGroups } from "./groups.ts";
import { KEYS } from "./keys.ts";

/** What one workload did to another on one port. */
export interface Edge {
  readonly source: string;
  readonly destination: string;
  /** `80/TCP`. */
  readonly port: string;
  readonly flows: number;
  readonly dropped: number;
}

/** Who talked to whom on what. */
export interface Matrix {
  add(flow: Flow): void;
  /** Sorted by source, destination, port. */
  edges(): readonly Edge[];
}

// Traces of sockets and packets that a proxy takes over are steps on the way, no connections of their own.
const STEPS: ReadonlySet<Verdict> = new Set([Verdict.TRACED, Verdict.TRANSLATED]);

/** An empty matrix. */
export function createMatrix(): Matrix {
  const groups = createGroups(["source", "destination", "port"]);
  return {
    add(flow) {
      const [source, destination] = [KEYS.source?.(flow), KEYS.destination?.(flow)];
      if (!STEPS.has(flow.verdict) && source && destination) groups.add(flow);
    },
    edges: () =>
      groups
        .list()
        .map(({ values: [source = "", destination = "", port = ""], flows, dropped }) => ({ source, destination, port, flows, dropped }))
        .sort((a, b) => order(a).localeCompare(order(b), "en")),
  };
}

function order({ source, destination, port }: Edge): string {
  return `${source}\0${destination}\0${port.padStart(12, "0")}`;
}
