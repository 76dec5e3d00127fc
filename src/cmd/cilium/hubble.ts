import type { Cluster } from "#k8s/client.ts";
import { aborted } from "#runtime/scope.ts";
import type { ClusterOptions } from "./config.ts";

interface Forward {
  /** Label selector of the pods that serve it. */
  readonly selector: string;
  readonly podPort: number;
  readonly localPort: number;
  readonly missing: string;
}

const RELAY: Omit<Forward, "localPort"> = {
  selector: "k8s-app=hubble-relay",
  podPort: 4245,
  missing: "Hubble Relay is not running; is it enabled? (cilium hubble enable)",
};

const UI: Omit<Forward, "localPort"> = {
  selector: "k8s-app=hubble-ui",
  podPort: 8081,
  missing: "Hubble UI is not running; is it enabled? (cilium hubble enable --ui)",
};

/** `hubble port-forward`: the relay on a local port, until it is interrupted. */
export function hubblePortForward(options: ClusterOptions & { readonly localPort: number }, signal: AbortSignal): Promise<void> {
  return forward(
    options,
    { ...RELAY, localPort: options.localPort },
    signal,
    (port) => `ℹ️  Hubble Relay is available at 127.0.0.1:${port}`,
  );
}

/** `hubble ui`: the UI on a local port, until it is interrupted. */
export function hubbleUi(options: ClusterOptions & { readonly localPort: number }, signal: AbortSignal): Promise<void> {
  return forward(
    options,
    { ...UI, localPort: options.localPort },
    signal,
    (port) => `ℹ️  Hubble UI is available at "http://localhost:${port}"`,
  );
}

/** Calls `work` with a local port that leads to the relay. Rejects when the relay is not running. */
export async function withRelay<T>(options: ClusterOptions, work: (port: number) => Promise<T>): Promise<T> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  const { forwardPort } = await import("#k8s/port-forward.ts");
  const config = await loadClusterConfig({ kubeconfig: options.kubeconfig });
  using cluster = openCluster(config);
  const pod = () => runningPod(cluster, options.namespace, { ...RELAY, localPort: 0 });
  await pod();
  const local = { host: "127.0.0.1", port: 0 };
  await using forwarded = await forwardPort(config, { namespace: options.namespace, pod, port: RELAY.podPort }, local, () => {});
  return await work(forwarded.port);
}

async function forward(options: ClusterOptions, target: Forward, signal: AbortSignal, announce: (port: number) => string): Promise<void> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  const { forwardPort } = await import("#k8s/port-forward.ts");
  const config = await loadClusterConfig({ kubeconfig: options.kubeconfig });
  using cluster = openCluster(config);
  const pod = () => runningPod(cluster, options.namespace, target);
  await pod();
  const complain = (message: string) => process.stderr.write(`cilium: ${message}\n`);
  await using forwarded = await forwardPort(
    config,
    { namespace: options.namespace, pod, port: target.podPort },
    { host: "127.0.0.1", port: target.localPort },
    complain,
  );
  process.stdout.write(`${announce(forwarded.port)}\n`);
  await aborted(signal);
}

async function runningPod(cluster: Cluster, namespace: string, target: Forward): Promise<string> {
  const { PODS } = await import("#k8s/resources.ts");
  const { items } = await cluster.list(PODS, { namespace, labelSelector: target.selector });
  const running = items.find((pod) => pod.status?.phase === "Running" && !pod.metadata.deletionTimestamp);
  if (!running) throw new Error(target.missing);
  return running.metadata.name;
}
