import { createSocket } from "node:dgram";

/**
 * A steady stream of datagrams, to find out whether any is lost or let through. Runs inside pods:
 *
 *     udp-probe.ts server PORT                       echoes; prints one line per new sender
 *     udp-probe.ts client ADDRESS PORT RATE SECONDS  prints {"sent": N, "received": N, "lost": N}
 */
const [role, ...args] = process.argv.slice(2);
/** How long to wait for the last answers, milliseconds. */
const GRACE_MS = 1000;
/**
 * A socket holds some 270 of these datagrams. So nobody is sent more ahead of the answers, as long as there are any: what is lost was lost on its way, and not
 * before a reader that had to wait for a processor.
 */
const AHEAD = 200;
/** Datagrams at a time to somebody who does not answer. */
const UNHEARD = 10;

function serve(port: number): void {
  const socket = createSocket("udp4");
  const senders = new Set<string>();
  socket.on("message", (message, from) => {
    socket.send(message, from.port, from.address);
    if (senders.has(from.address)) return;
    senders.add(from.address);
    process.stdout.write(`${from.address}\n`);
  });
  socket.bind(port, () => process.stdout.write("ready\n"));
}

function ask(address: string, port: number, rate: number, seconds: number): void {
  const socket = createSocket("udp4");
  const total = rate * seconds;
  const answered = new Set<number>();
  let newest = 0;
  let heard = Number.NEGATIVE_INFINITY;
  socket.on("message", (message) => {
    const number = message.readUInt32BE(0);
    answered.add(number);
    [newest, heard] = [Math.max(newest, number), performance.now()];
  });
  const started = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    // Timers come late; what is due is sent, so that the rate holds.
    const now = performance.now();
    const room = now - heard < GRACE_MS ? newest + AHEAD : sent + UNHEARD;
    const due = Math.min(total, room, Math.floor(((now - started) / 1000) * rate));
    for (; sent < due; sent += 1) {
      const message = Buffer.alloc(64);
      message.writeUInt32BE(sent);
      socket.send(message, port, address);
    }
    if (sent < total) return;
    clearInterval(timer);
    setTimeout(() => {
      process.stdout.write(`${JSON.stringify({ sent, received: answered.size, lost: sent - answered.size })}\n`);
      socket.close();
    }, GRACE_MS);
  }, 1);
}

if (role === "server") serve(Number(args[0]));
else if (role === "client") ask(args[0] ?? "", Number(args[1]), Number(args[2]), Number(args[3]));
else {
  process.stderr.write("usage: udp-probe.ts server PORT | client ADDRESS PORT RATE SECONDS\n");
  process.exitCode = 2;
}
