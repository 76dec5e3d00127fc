import { type AskOptions, agentPods, isLocal } from "./agents.ts";

export interface MonitorOptions extends AskOptions {
  readonly types: readonly string[];
  readonly related: { readonly from?: string; readonly to?: string; readonly either?: string };
  readonly output: "text" | "json";
  readonly numeric: boolean;
}

/** `monitor`: events as the agents see them, until interrupted. On a workstation of all agents at once. */
export async function monitor(options: MonitorOptions, signal: AbortSignal): Promise<void> {
  if (isLocal()) return followLocal(options, signal);
  const { execInPod } = await import("#k8s/exec.ts");
  const { cluster, pods } = await agentPods(options);
  using _ = cluster;
  process.stderr.write(`Listening for events on ${pods.length} node${pods.length > 1 ? "s" : ""}\nPress Ctrl-C to quit\n`);
  const command = ["cilium-dbg", "monitor", ...monitorArguments(options)];
  await Promise.all(
    pods.map(async (pod) => {
      const { name, namespace = "kube-system" } = pod.metadata;
      const onStdout = (chunk: Buffer) => void process.stdout.write(chunk);
      const result = await execInPod(cluster.config, { namespace, pod: name, container: "cilium-agent", command, onStdout, signal });
      if (!signal.aborted && result.exitCode !== 0) throw new Error(`node ${pod.spec?.nodeName}: ${result.stderr.trim()}`);
    }),
  );
}

function monitorArguments({ types, related, output, numeric }: MonitorOptions): string[] {
  return [
    ...types.flatMap((type) => ["--type", type]),
    ...(related.from ? ["--from", related.from] : []),
    ...(related.to ? ["--to", related.to] : []),
    ...(related.either ? ["--related-to", related.either] : []),
    ...(output === "json" ? ["--json"] : []),
    ...(numeric ? ["--numeric"] : []),
  ];
}

async function followLocal(options: MonitorOptions, signal: AbortSignal): Promise<void> {
  const { followMonitor } = await import("./monitor-stream.ts");
  process.stderr.write("Press Ctrl-C to quit\n");
  await followMonitor(options, signal, (line) => process.stdout.write(`${line}\n`));
}
