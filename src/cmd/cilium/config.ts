import { formatOutput, formatTable } from "./output.ts";

export interface ClusterOptions {
  readonly kubeconfig?: string | undefined;
  readonly namespace: string;
}

/** `config view`: the keys of the ConfigMap `cilium-config`. */
export async function configView(options: ClusterOptions & { readonly output?: string }): Promise<string> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  const { CONFIG_MAPS } = await import("#k8s/resources.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const { data = {} } = await cluster.get(CONFIG_MAPS, { namespace: options.namespace, name: "cilium-config" });
  if (options.output) return formatOutput(options.output, data);
  const rows = Object.entries(data).sort(([a], [b]) => a.localeCompare(b));
  return formatTable([], rows);
}
