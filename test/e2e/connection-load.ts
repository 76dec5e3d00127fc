import { connect } from "node:net";

/**
 * `node connection-load.ts HOST PORT PER_SECOND SECONDS`: a new connection for each HTTP request, evenly spread. Prints one line of
 * JSON: how many were answered, and the failures by what was wrong.
 */
const [host = "", port = "", rate = "", seconds = ""] = process.argv.slice(2);
const [perSecond, total] = [Number(rate), Number(rate) * Number(seconds)];
const failures: Record<string, number> = {};
let [started, ended, answered] = [0, 0, 0];

function ask(): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({ host, port: Number(port) });
    socket.setTimeout(5_000, () => {
      resolve("timeout");
      socket.destroy();
    });
    socket.on("connect", () => socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("close", () =>
      resolve(/^HTTP\/1\.1 200 /.test(answer) ? "" : answer === "" ? "closed without an answer" : answer.slice(0, 20)),
    );
  });
}

const begin = performance.now();
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor(((performance.now() - begin) / 1000) * perSecond));
    for (; started < due; started++) {
      void ask().then((failure) => {
        if (failure === "") answered += 1;
        else failures[failure] = (failures[failure] ?? 0) + 1;
        ended += 1;
        if (ended === total) resolve();
      });
    }
    if (started === total) clearInterval(timer);
  }, 5);
});
process.stdout.write(`${JSON.stringify({ answered, failures, seconds: (performance.now() - begin) / 1000 })}\n`);
