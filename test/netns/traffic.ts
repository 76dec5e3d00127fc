import { createSocket, type Socket as Datagram } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import type { Netns } from "#sys/netns.ts";
import { datagram, listener, stream } from "#sys/socket.ts";

/** An echo server for TCP inside a namespace. */
export async function echoServer(netns: Netns, port: number, host = "0.0.0.0"): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    socket.pipe(socket);
  });
  const fd = listener({ host, port, netns });
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A TCP connection from inside a namespace. */
export interface Connection extends Disposable {
  /** Sends a line and resolves with whether its echo came within the time. */
  echo(text: string, timeoutMs: number): Promise<boolean>;
}

/** Undefined when the connection is not made within the time. */
export async function connectFrom(netns: Netns, host: string, port: number, timeoutMs = 500): Promise<Connection | undefined> {
  const socket = new Socket({ fd: stream({ family: host.includes(":") ? 6 : 4, netns }) });
  socket.setEncoding("utf8");
  const connected = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs);
    const settle = (outcome: boolean) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    socket.once("connect", () => settle(true)).on("error", () => settle(false));
    socket.connect(port, host);
  });
  if (!connected) {
    socket.destroy();
    return undefined;
  }
  return {
    echo: (text, limit) => echo(socket, text, limit),
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

function echo(socket: Socket, text: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    let received = "";
    const finish = (outcome: boolean) => {
      clearTimeout(timer);
      socket.off("data", onData);
      resolve(outcome);
    };
    const onData = (chunk: string) => {
      received += chunk;
      if (received.includes(text)) finish(true);
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    socket.on("data", onData);
    socket.write(text);
  });
}

/** Whether a connection comes about and echoes. */
export async function canTalk(netns: Netns, host: string, port: number, timeoutMs = 400): Promise<boolean> {
  using connection = await connectFrom(netns, host, port, timeoutMs);
  return connection !== undefined && (await connection.echo("hello", timeoutMs));
}

/** A UDP socket inside a namespace; counts what it hears. */
export interface UdpSocket extends AsyncDisposable {
  send(host: string, port: number, text: string): void;
  readonly received: readonly string[];
}

export async function udpSocket(netns: Netns, port: number, host = "0.0.0.0"): Promise<UdpSocket> {
  const socket: Datagram = createSocket("udp4");
  const received: string[] = [];
  socket.on("message", (message) => received.push(message.toString()));
  socket.on("error", () => undefined);
  const fd = datagram({ host, port, netns });
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  return {
    received,
    send: (to, toPort, text) => socket.send(text, toPort, to, () => undefined),
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    },
  };
}
