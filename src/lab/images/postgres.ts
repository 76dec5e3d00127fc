// Enough of PostgreSQL's protocol that clients connect and log in: there is no database behind it.
import { createServer, type Socket } from "node:net";
import { declaredPorts, stopOnSignal } from "./ports.ts";

const SSL_REQUEST = 80_877_103;

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const text = (...words: string[]) => Buffer.from(words.map((word) => `${word}\0`).join(""));
const READY = message("Z", Buffer.from("I"));
const LOGGED_IN = Buffer.concat([
  message("R", Buffer.alloc(4)),
  message("S", text("server_version", "15.8")),
  message("S", text("client_encoding", "UTF8")),
  READY,
]);
const NO_DATABASE = message(
  "E",
  Buffer.concat([text("SERROR", "VERROR", "C0A000", "Mthe lab's postgres image answers connections only"), Buffer.from("\0")]),
);

function serve(socket: Socket): void {
  let started = false;
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    if (!started && chunk.length >= 8 && chunk.readUInt32BE(4) === SSL_REQUEST) socket.write("N");
    else if (!started) {
      started = true;
      socket.write(LOGGED_IN);
    } else if (chunk[0] === "X".charCodeAt(0)) socket.end();
    else socket.write(Buffer.concat([NO_DATABASE, READY]));
  });
}

stopOnSignal();
for (const port of declaredPorts()) createServer(serve).listen(port, "::");
