import type { Socket } from "node:net";
import { RequestStreamReader } from "./request-stream.ts";

/** Answers every request with its request line; the raw bytes of all requests go to `seen`. `answer` may answer in another way. */
export function echoServer(seen: string[], answer?: (line: string, socket: Socket) => string | undefined): (socket: Socket) => void {
  return (socket) => {
    const requests = new RequestStreamReader(({ method, target, minor }) => {
      const line = `${method} ${target} HTTP/1.${minor}`;
      const text = answer?.(line, socket) ?? `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${line}`;
      if (text !== "") socket.write(text, "latin1");
    });
    socket.on("data", (chunk: Buffer) => {
      seen.push(chunk.toString("latin1"));
      requests.push(chunk);
      if (requests.error !== undefined) socket.destroy();
    });
    socket.on("end", () => socket.end());
  };
}
