import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dial } from "./kubelet/dial.ts";
import type { Kubelet } from "./kubelet/kubelet.ts";
import { paths } from "./paths.ts";

const RELAY_PORT = 4245;

/** A Unix socket of the machine that leads to the Hubble relay, so that `hubble` works without a port-forward. */
export async function startHubbleSocket(kubelets: readonly Kubelet[]): Promise<AsyncDisposable> {
  rmSync(paths.hubble, { force: true });
  const open = new Set<Socket>();
  const server = createServer((client) => {
    open.add(client);
    client.on("close", () => open.delete(client));
    forward(client, relayNetns(kubelets));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(paths.hubble, resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      for (const client of open) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function relayNetns(kubelets: readonly Kubelet[]): string | undefined {
  const relay = kubelets.flatMap((kubelet) => kubelet.workers()).find((worker) => worker.container("hubble-relay")?.record.ready);
  return relay?.sandbox && `/proc/${relay.sandbox.sandbox.pid}/ns/net`;
}

// Without a relay the client sees a closed connection, as with a service that has no endpoints.
function forward(client: Socket, netns: string | undefined): void {
  client.on("error", () => client.destroy());
  if (netns === undefined) {
    client.destroy();
    return;
  }
  const relay = connectRelay(netns);
  if (!relay) {
    client.destroy();
    return;
  }
  relay.on("error", () => client.destroy());
  relay.on("close", () => client.destroy());
  client.on("close", () => relay.destroy());
  client.pipe(relay).pipe(client);
}

// The relay may end between our look and the call.
function connectRelay(netns: string): Socket | undefined {
  try {
    return dial(netns, "127.0.0.1", RELAY_PORT);
  } catch {
    return undefined;
  }
}
