import { createSocket } from "node:dgram";

/**
 * A steady stream of DNS questions, to find out whether any is lost. Runs inside pods:
 *
 *     dns-probe.ts SERVER NAME RATE SECONDS
 *
 * Each question is asked once, never again. Prints {"sent": N, "answered": N, "refused": N, "lost": N, "gapMs": longest time without an answer}.
 */
const [server = "", name = "", rate = "1000", seconds = "5"] = process.argv.slice(2);
/** How long to wait for the last answers, milliseconds. */
const GRACE_MS = 2000;
const REFUSED = 5;

function questionOf(id: number): Buffer {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
const total = Number(rate) * Number(seconds);
const answered = new Set<number>();
const started = performance.now();
let [sent, refused, last, gapMs] = [0, 0, started, 0];
socket.on("message", (message) => {
  const now = performance.now();
  gapMs = Math.max(gapMs, now - last);
  last = now;
  answered.add(message.readUInt16BE(0));
  if (((message[3] ?? 0) & 15) === REFUSED) refused += 1;
});
// What the network has to say is in the count of answers.
socket.on("error", () => undefined);
const timer = setInterval(() => {
  // Timers come late; what is due is sent, so that the rate holds.
  const due = Math.min(total, Math.floor(((performance.now() - started) / 1000) * Number(rate)));
  for (; sent < due; sent += 1) socket.send(questionOf(sent & 0xffff), 53, server);
  if (sent < total) return;
  clearInterval(timer);
  setTimeout(() => {
    process.stdout.write(
      `${JSON.stringify({ sent, answered: answered.size, refused, lost: sent - answered.size, gapMs: Math.round(gapMs) })}\n`,
    );
    socket.close();
  }, GRACE_MS);
}, 1);
