import { createServer, type Server, type Socket } from "node:net";
import type { NodeConfig } from "./config.ts";
import { LabError } from "./errors.ts";
import type { PortMapping } from "./kind-nodes.ts";
import { dial } from "./kubelet/dial.ts";
import { netnsPath, WORLD_NETNS } from "./network/fabric.ts";

/**
 * Listens on the machine for the nodes' `extraPortMappings`. A connection goes on to the node from the world, so the cluster sees it as it sees any
 * from outside: services of type NodePort and policies for the world count. Rejects with a `LabError` when a port is taken.
 */
export async function startPortMappings(nodes: readonly NodeConfig[]): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  for (const { ipv4, ports } of nodes) for (const mapping of ports) stack.use(await listen(mapping, ipv4));
  return stack.move();
}

async function listen({ listenAddress, hostPort, containerPort }: PortMapping, node: string): Promise<AsyncDisposable> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    open.add(client);
    client.on("close", () => open.delete(client));
    join(client, dial(netnsPath(WORLD_NETNS), node, containerPort));
  });
  await bind(server, listenAddress, hostPort);
  return {
    async [Symbol.asyncDispose]() {
      for (const client of open) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new LabError("boot", `extraPortMappings: cannot listen on ${host}:${port}: ${cause.message}`, { cause })),
    );
    server.listen(port, host, resolve);
  });
}

function join(client: Socket, server: Socket): void {
  client.on("error", () => server.destroy());
  server.on("error", () => client.destroy());
  client.on("close", () => server.destroy());
  server.on("close", () => client.destroy());
  client.pipe(server).pipe(client);
}
