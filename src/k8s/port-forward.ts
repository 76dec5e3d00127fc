import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { errorMessage } from "#runtime/errors.ts";
import type { ClusterConfig } from "./config.ts";
import { openChannels } from "./websocket.ts";

const DATA = 0;
const ERROR = 1;
/** The server's first message on each channel is the port, two bytes after the channel number. */
const PORT_MESSAGE_BYTES = 3;

export interface PortForward extends AsyncDisposable {
  /** The local port, as asked for or, for 0, as the system chose it. */
  readonly port: number;
}

export interface PortForwardTarget {
  readonly namespace: string;
  /** Asked anew for each connection, so that a forward outlives the pod that it started with. */
  readonly pod: () => Promise<string>;
  readonly port: number;
}

/** Listens on a local port; every connection goes to the pod's port. Rejects when the local port is taken. */
export async function forwardPort(
  config: ClusterConfig,
  target: PortForwardTarget,
  local: { readonly host: string; readonly port: number },
  onError: (message: string) => void,
): Promise<PortForward> {
  const sockets = new Set<Socket>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    carry(config, target, socket).catch((thrown: unknown) => {
      onError(errorMessage(thrown));
      socket.destroy();
    });
  });
  server.listen(local.port, local.host);
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : local.port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function carry(config: ClusterConfig, target: PortForwardTarget, socket: Socket): Promise<void> {
  const pod = await target.pod();
  const path = `/api/v1/namespaces/${target.namespace}/pods/${pod}/portforward?ports=${target.port}`;
  const channels = await openChannels(config, path, "v4.channel.k8s.io");
  const announced = new Set<number>();
  let failure = "";
  channels.on("message", (data: Buffer) => {
    const channel = data[0] ?? ERROR;
    if (!announced.has(channel) && data.length === PORT_MESSAGE_BYTES) {
      announced.add(channel);
      return;
    }
    if (channel === DATA) socket.write(data.subarray(1));
    else failure += data.subarray(1).toString("utf8");
  });
  socket.on("data", (chunk) => channels.send(Buffer.concat([Buffer.of(DATA), chunk as Buffer])));
  socket.on("close", () => channels.close());
  socket.resume();
  await once(channels, "close");
  socket.end();
  if (failure !== "") throw new Error(failure.trim());
}
