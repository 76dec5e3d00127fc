// PING, GET, SET and DEL of Redis, in memory.
import { createServer, type Socket } from "node:net";
import { declaredPorts, stopOnSignal } from "./ports.ts";

const values = new Map<string, string>();

function bulk(value: string | undefined): string {
  return value === undefined ? "$-1\r\n" : `$${Buffer.byteLength(value)}\r\n${value}\r\n`;
}

function reply([name = "", key = "", value = ""]: readonly string[]): string {
  switch (name.toUpperCase()) {
    case "PING":
      return key ? bulk(key) : "+PONG\r\n";
    case "GET":
      return bulk(values.get(key));
    case "SET":
      values.set(key, value);
      return "+OK\r\n";
    case "DEL":
      return `:${values.delete(key) ? 1 : 0}\r\n`;
    default:
      return `-ERR unknown command '${name}'\r\n`;
  }
}

function serve(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    const words = chunk
      .toString()
      .split("\r\n")
      .filter((word) => word !== "");
    // "*2 $3 GET $1 k" of clients, or "GET k" typed into nc.
    const command = words[0]?.startsWith("*") ? words.filter((_, index) => index > 0 && index % 2 === 0) : (words[0] ?? "").split(" ");
    socket.write(reply(command));
  });
}

stopOnSignal();
for (const port of declaredPorts()) createServer(serve).listen(port, "::");
