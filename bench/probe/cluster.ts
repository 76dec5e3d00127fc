import { openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import { cilium, type Lab } from "../../test/e2e/lab.ts";

/** A client of the lab's API server: no process is started for a request. */
export async function openLab(lab: Lab) {
  return openCluster(await loadClusterConfig({ kubeconfig: lab.env.KUBECONFIG }));
}

/** Runs kubectl and returns what it prints; throws with its words. */
export async function kubectl(lab: Lab, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.kubectl(...args);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

interface LabStatus {
  readonly nodes: readonly {
    readonly pods: readonly {
      readonly namespace: string;
      readonly name: string;
      readonly containers: readonly { readonly pid: number }[];
    }[];
  }[];
}

/** The file of the pod's network namespace. */
export async function podNetns(namespace: string, name: string): Promise<string> {
  const { stdout } = await cilium("lab", "status", "-o", "json");
  const pods = (JSON.parse(stdout) as LabStatus).nodes.flatMap((node) => node.pods);
  const pid = pods.find((pod) => pod.namespace === namespace && pod.name === name)?.containers[0]?.pid;
  if (!pid) throw new Error(`pod ${namespace}/${name} does not run`);
  return `/proc/${pid}/ns/net`;
}
