import type { Settings } from "./settings.ts";

const RELAY = { selector: "k8s-app=hubble-relay", port: 4245 } as const;

/**
 * For `--port-forward`: a local port to the relay's pod, and settings whose server it is. Rejects when there is no cluster or no
 * running relay. Dispose it after the command.
 */
export async function forwardToRelay(
  settings: Settings,
  complain: (text: string) => void,
): Promise<AsyncDisposable & { readonly settings: Settings }> {
  const [{ openCluster }, { loadClusterConfig }, { forwardPort }, { PODS }] = await Promise.all([
    import("#k8s/client.ts"),
    import("#k8s/config.ts"),
    import("#k8s/port-forward.ts"),
    import("#k8s/resources.ts"),
  ]);
  const namespace = settings.text("kube-namespace");
  const config = await loadClusterConfig({
    kubeconfig: settings.text("kubeconfig") || undefined,
    context: settings.text("kube-context") || undefined,
  });
  const cluster = openCluster(config);
  const pod = async () => {
    const { items } = await cluster.list(PODS, { namespace, labelSelector: RELAY.selector });
    const running = items.find(({ status, metadata }) => status?.phase === "Running" && metadata.deletionTimestamp === undefined);
    if (running === undefined) throw new Error(`no running hubble-relay pod in ${namespace}; cilium hubble enable starts one`);
    return running.metadata.name;
  };
  await pod();
  const port = settings.has("port-forward-port") ? (settings.number("port-forward-port") ?? 0) : 0;
  const forwarded = await forwardPort(config, { namespace, pod, port: RELAY.port }, { host: "127.0.0.1", port }, (message) =>
    complain(`hubble: ${message}\n`),
  );
  const server = `127.0.0.1:${forwarded.port}`;
  return {
    settings: { ...settings, text: (flag) => (flag === "server" ? server : settings.text(flag)) },
    async [Symbol.asyncDispose]() {
      await forwarded[Symbol.asyncDispose]();
      cluster[Symbol.dispose]();
    },
  };
}
