import type { Endpoint, Flow, Workload } from "#api/gen/flow/flow_pb.ts";

/** Pods remembered; the ones longest unseen are forgotten first. */
const MAX_PODS = 20_000;

/**
 * Fills in workloads. A node knows the workloads of its own pods, and only the names of others; the relay hears of every pod from
 * its own node, so it can tell the rest.
 */
export interface WorkloadBook {
  /** Learns from the flow, and fills its ends that name a pod but no workload. */
  complete(flow: Flow): void;
}

/** An empty book. */
export function createWorkloadBook(maxPods = MAX_PODS): WorkloadBook {
  const known = new Map<string, Workload[]>();
  const learn = (pod: string, workloads: Workload[]) => {
    // The order of a Map is that of insertion: what is inserted anew is the youngest.
    known.delete(pod);
    const [oldest] = known.size >= maxPods ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    known.set(pod, workloads);
  };
  const complete = (endpoint: Endpoint | undefined) => {
    if (endpoint === undefined || endpoint.podName === "") return;
    const pod = `${endpoint.namespace}/${endpoint.podName}`;
    if (endpoint.workloads.length > 0) learn(pod, endpoint.workloads);
    else endpoint.workloads = known.get(pod) ?? [];
  };
  return {
    complete({ source, destination }) {
      complete(source);
      complete(destination);
    },
  };
}
