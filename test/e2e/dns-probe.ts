import { createSocket } from "node:dgram";

/**
 * A steady stream of DNS questions, to find out whether any is lost. Runs inside pods:
 *
 *     dns-probe.ts SERVER NAME RATE SECONDS
 *
 * What has no answer at the end is asked again, once, as resolvers do. Prints {"sent": N, "again": N asked again, "refused": N, "lost": N never answered,
 * "gapMs": longest time without an answer, before asking again}.
 */
const [server = "", name = "", rate = "1000", seconds = "5"] = process.argv.slice(2);
/** When no answer has come for so long, milliseconds, none is on its way (resolv.conf(5), `timeout`). */
const GRACE_MS = 5000;
const REFUSED = 5;

function questionOf(id: number): Buffer {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
const total = Number(rate) * Number(seconds);
const answered = new Set<number>();
const started = performance.now();
let [sent, again, refused, last, gapMs] = [0, 0, 0, started, 0];
socket.on("message", (message) => {
  const now = performance.now();
  if (again === 0) gapMs = Math.max(gapMs, now - last);
  last = now;
  answered.add(message.readUInt16BE(0));
  if (((message[3] ?? 0) & 15) === REFUSED) refused += 1;
});
// What the network has to say is in the count of answers.
socket.on("error", () => undefined);
const ask = (id: number) => socket.send(questionOf(id), 53, server);
const missing = () => Array.from({ length: sent }, (_, id) => id).filter((id) => !answered.has(id));
const timer = setInterval(() => {
  // Timers come late; what is due is sent, so that the rate holds.
  const due = Math.min(total, Math.floor(((performance.now() - started) / 1000) * Number(rate)));
  for (; sent < due; sent += 1) ask(sent);
  if (sent < total || (answered.size < total && performance.now() - last < GRACE_MS)) return;
  const unanswered = missing();
  if (again === 0 && unanswered.length > 0) {
    [again, last] = [unanswered.length, performance.now()];
    for (const id of unanswered) ask(id);
    return;
  }
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify({ sent, again, refused, lost: unanswered.length, gapMs: Math.round(gapMs) })}\n`);
  socket.close();
}, 1);
