import { createSocket, type Socket as Datagram } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { spoofedStream, transparentDatagram, transparentListener } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import type { RealNode } from "./nodes.ts";

/** A minimal L7 proxy as the real one behaves towards the datapath: accepts for any address, calls the server in the client's name and with its mark. */
export class TinyProxy implements AsyncDisposable {
  readonly seen: string[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #node: RealNode;

  constructor(node: RealNode) {
    this.#node = node;
  }

  async listen(port: number, mark: number): Promise<void> {
    for (const host of ["0.0.0.0", "::"]) {
      const server = createServer((downstream) => this.#relay(downstream, mark));
      this.#servers.push(server);
      const fd = transparentListener({ host, port, netns: this.#node.netns });
      await new Promise<void>((resolve) => server.listen({ fd }, resolve));
    }
  }

  #relay(downstream: Socket, mark: number): void {
    const { remoteAddress: client, localAddress: server, localPort: port } = downstream;
    if (!client || !server || !port) return;
    this.seen.push(`${client}>${server}:${port}`);
    const upstream = new Socket({ fd: spoofedStream({ source: client, mark, netns: this.#node.netns }) });
    for (const socket of [downstream, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => this.#sockets.delete(socket));
    }
    upstream.connect(port, server);
    downstream.pipe(upstream).pipe(downstream);
  }

  /** Ends all connections, as the first to do so: their ports rest here. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** A DNS proxy in miniature: a transparent socket under the server's address, and for each question a call in the client's name. */
export async function datagramProxy(
  node: RealNode,
  server: IpAddress,
  mark: number,
): Promise<AsyncDisposable & { readonly seen: string[] }> {
  const kind = server.includes(":") ? "udp6" : "udp4";
  const open: Datagram[] = [];
  const bound = async (host: string, port: number, socketMark?: number): Promise<Datagram> => {
    const socket = createSocket(kind);
    open.push(socket);
    const fd = transparentDatagram({ host, port, netns: node.netns, ...(socketMark === undefined ? {} : { mark: socketMark }) });
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    return socket;
  };
  const seen: string[] = [];
  const downstream = await bound(server, 53);
  downstream.on("message", (question, client) => {
    seen.push(client.address);
    void bound(client.address, 0, mark).then((upstream) => {
      upstream.on("message", (answer) => downstream.send(answer, client.port, client.address));
      upstream.send(question, 53, server);
    });
  });
  return {
    seen,
    [Symbol.asyncDispose]: async () =>
      void (await Promise.all(open.map((socket) => new Promise<void>((resolve) => socket.close(resolve))))),
  };
}
