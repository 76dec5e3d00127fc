import { createSocket } from "node:dgram";

/** Passes a query on and gives the answer's bytes; undefined when no server answered. */
export type Forward = (query: Buffer) => Promise<Buffer | undefined>;

const ATTEMPT_MS = 1_000;
const ATTEMPTS = 2;

/** Forwards queries to these servers over UDP, each in its turn until one answers. */
export function createForward(servers: readonly string[], port = 53): Forward {
  return async (query) => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      for (const server of servers) {
        const reply = await ask(server, port, query);
        if (reply) return reply;
      }
    }
    return undefined;
  };
}

// A socket of its own for each query: the random source port is what protects it from forged answers.
function ask(server: string, port: number, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
    const finish = (reply?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(finish, ATTEMPT_MS);
    socket.on("error", () => finish());
    socket.connect(port, server, () => socket.send(query));
    socket.on("message", (reply) => {
      if (reply.length >= 2 && reply.readUInt16BE(0) === query.readUInt16BE(0)) finish(reply);
    });
  });
}
