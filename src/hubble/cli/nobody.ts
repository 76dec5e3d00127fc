import { create } from "@bufbuild/protobuf";
import { GetFlowsRequestSchema } from "#api/gen/observer/observer_pb.ts";
import type { CommandContext } from "./context.ts";
import { FilterBuilder } from "./filter-builder.ts";
import { takeFlows } from "./flow-source.ts";

const NODES = "hubble list nodes shows the names of nodes";
const WORKLOADS = "hubble observe --since 1h --aggregate-by source,destination shows which there are";
/** The flags whose values may be of nobody, and where to look the names up. */
const LOOK_UP: Readonly<Record<string, string>> = {
  "node-name": NODES,
  workload: WORKLOADS,
  "from-workload": WORKLOADS,
  "to-workload": WORKLOADS,
};

/**
 * Says on standard error which nodes and workloads that were asked for have no flow at all, whatever else was asked for: their names may be
 * mistaken. For a person who got no flows.
 */
export async function tellNobody(context: CommandContext): Promise<void> {
  for (const { spec, value, not } of context.args.flags) {
    const lookUp = LOOK_UP[spec.name];
    if (lookUp !== undefined && !not && !(await hasFlows(context, spec.name, value)))
      context.err(`no flow that is kept is of --${spec.name} ${value}: is the name right? ${lookUp}\n`);
  }
}

/** Whether flows have this, or it cannot be told. */
async function hasFlows(context: CommandContext, flag: string, value: string): Promise<boolean> {
  const filter = new FilterBuilder();
  for (const item of flag === "node-name" ? value.split(",") : [value]) filter.add(flag, item);
  let found = false;
  const print = ({ responseTypes }: { readonly responseTypes: { readonly case: string | undefined } }) => {
    found ||= responseTypes.case === "flow";
  };
  try {
    await takeFlows(context, create(GetFlowsRequestSchema, { number: 1n, whitelist: filter.build() }), { print });
    return found || context.signal.aborted;
  } catch {
    // The command itself had its answer: no hint is better than a wrong one.
    return true;
  }
}
