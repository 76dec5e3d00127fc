import { createSocket, type Socket } from "node:dgram";
import { createServer } from "node:net";
import { type Answer, decode, encode, type Packet } from "dns-packet";
import { framed, MessageReader } from "#proxy/dns/stream.ts";
import { datagram, listener } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { dial, type Family, type RealPod } from "./nodes.ts";

const ANY: Readonly<Record<Family, string>> = { ipv4: "0.0.0.0", ipv6: "::" };

/** What the name server answers; `seen` are the clients as it sees them. */
export type Respond = (query: Packet, via: "UDP" | "TCP") => Answer[];
/** What it sends in place of one answer; by TCP it hangs up when that is nothing. */
export type Mangle = (answer: Buffer) => readonly Buffer[];

export async function serveDns(pod: Pick<RealPod, "netns">, respond: Respond, mangle: Mangle, seen: string[]): Promise<AsyncDisposable> {
  const answer = (message: Buffer, via: "UDP" | "TCP") => {
    const query = decode(message);
    return encode({ ...query, type: "response", flags: 0x180, additionals: [], answers: respond(query, via) });
  };
  const sockets: Socket[] = [];
  const servers = await Promise.all(
    Object.values(ANY).map(async (host) => {
      const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
      socket.on("message", (message, from) => {
        seen.push(from.address);
        for (const one of mangle(answer(message, "UDP"))) socket.send(one, from.port, from.address);
      });
      await new Promise<void>((resolve) => socket.bind({ fd: datagram({ host, port: 53, netns: pod.netns }) }, resolve));
      sockets.push(socket);
      const server = createServer((stream) => {
        const reader = new MessageReader();
        stream.on("error", () => stream.destroy());
        stream.on("data", (chunk: Buffer) => {
          for (const message of reader.push(chunk)) {
            const said = mangle(answer(message, "TCP"));
            if (said.length === 0) stream.destroy();
            for (const one of said) stream.write(framed(one));
          }
        });
      });
      await new Promise<void>((resolve) => server.listen({ fd: listener({ host, port: 53, netns: pod.netns }) }, resolve));
      return server;
    }),
  );
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close();
      for (const server of servers) server.close();
    },
  };
}

export const question = (name: string, id = 77, type: "A" | "AAAA" = "A") =>
  encode({ type: "query", id, flags: 0x100, questions: [{ type, name }] });

/** One question by UDP. Rejects when there is no answer in time. */
export async function ask(client: RealPod, server: IpAddress, message: Buffer, timeoutMs = 3000): Promise<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const family: Family = server.includes(":") ? "ipv6" : "ipv4";
  const socket = createSocket(family === "ipv6" ? "udp6" : "udp4");
  await new Promise<void>((resolve) => socket.bind({ fd: datagram({ host: ANY[family], port: 0, netns: client.netns }) }, resolve));
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      setTimeout(() => reject(new Error("no answer")), timeoutMs).unref();
      socket.connect(53, server, () => {
        socket.on("message", resolve);
        socket.on("error", reject);
        socket.send(message);
      });
      // The first packet between two nodes waits for their neighbour entries.
      timer = setInterval(() => socket.send(message), 500);
    });
  } finally {
    clearInterval(timer);
    socket.close();
  }
}

export async function askByTcp(client: RealPod, server: IpAddress, ...messages: Buffer[]): Promise<Buffer[]> {
  const socket = await dial(client.netns, server, 53, 3000);
  const reader = new MessageReader();
  const answers: Buffer[] = [];
  socket.write(Buffer.concat(messages.map(framed)));
  await new Promise<void>((resolve, reject) => {
    setTimeout(() => reject(new Error(`${answers.length} answers`)), 3000).unref();
    socket.on("data", (chunk: Buffer) => {
      answers.push(...reader.push(chunk));
      if (answers.length === messages.length) resolve();
    });
    socket.on("close", () => reject(new Error("closed")));
  });
  socket.destroy();
  return answers;
}
