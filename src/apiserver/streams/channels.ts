import { once } from "node:events";
import { Duplex, PassThrough, type Readable, Writable } from "node:stream";
import type { WebSocket } from "ws";
import type { AttachRequest } from "./pod-streams.ts";
import { parseSize, type Remote } from "./session.ts";

/** Channel numbers of `v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of every message. */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** Exec and attach over one WebSocket. Version 5 can close stdin without closing the connection. */
export function channelRemote(socket: WebSocket, request: AttachRequest): Remote {
  const stdin = request.stdin ? new PassThrough() : undefined;
  let resize: (size: { width: number; height: number }) => void = () => undefined;
  socket.on("message", (data: Buffer) => {
    const [channel] = data;
    if (channel === CHANNEL.stdin && stdin) void throttled(socket, stdin, data.subarray(1));
    else if (channel === CHANNEL.resize) {
      const size = parseSize(data.subarray(1).toString());
      if (size) resize(size);
    } else if (channel === CHANNEL.close && data[1] === CHANNEL.stdin) stdin?.end();
  });
  socket.on("close", () => stdin?.end());
  return {
    stdin,
    stdout: request.stdout ? channelWriter(socket, CHANNEL.stdout) : undefined,
    stderr: request.stderr && !request.tty ? channelWriter(socket, CHANNEL.stderr) : undefined,
    onResize(handler) {
      resize = handler;
    },
    onGone: (handler) => void socket.on("close", handler),
    async finish(status) {
      const text = Buffer.from(JSON.stringify(status));
      await send(socket, Buffer.concat([Buffer.from([CHANNEL.error]), text]));
      socket.close(1000);
    },
  };
}

/** Writes input on; stops reading from the client while the process is not taking any. */
async function throttled(socket: WebSocket, stdin: PassThrough, chunk: Buffer): Promise<void> {
  if (stdin.writableEnded || stdin.write(chunk)) return;
  socket.pause();
  await Promise.race([once(stdin, "drain"), once(stdin, "close")]).catch(() => undefined);
  socket.resume();
}

function send(socket: WebSocket, data: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.send(data, { binary: true }, () => resolve());
  });
}

function channelWriter(socket: WebSocket, channel: number): Writable {
  const prefix = Buffer.from([channel]);
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      socket.send(Buffer.concat([prefix, chunk]), { binary: true }, () => done());
    },
  });
}

/** Port-forward over `v4.channel.k8s.io`: two channels a port (data, errors); each begins with the port, little endian. */
export function portChannels(
  socket: WebSocket,
  ports: readonly number[],
): readonly { readonly port: number; readonly data: Duplex; fail(message: string): void }[] {
  const inputs = new Map<number, PassThrough>();
  socket.on("message", (message: Buffer) => {
    const input = inputs.get(message[0] ?? -1);
    if (input) void throttled(socket, input, message.subarray(1));
  });
  socket.on("close", () => {
    for (const input of inputs.values()) input.end();
  });
  return ports.map((port, index) => {
    const [dataChannel, errorChannel] = [index * 2, index * 2 + 1];
    const number = Buffer.from([port & 0xff, port >> 8]);
    for (const channel of [dataChannel, errorChannel]) socket.send(Buffer.concat([Buffer.from([channel]), number]), { binary: true });
    const input: PassThrough = new PassThrough();
    inputs.set(dataChannel, input);
    const data = Duplex.from({ readable: input as Readable, writable: channelWriter(socket, dataChannel) });
    const fail = (message: string) => socket.send(Buffer.concat([Buffer.from([errorChannel]), Buffer.from(message)]), { binary: true });
    return { port, data, fail };
  });
}
