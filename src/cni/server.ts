import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { errorMessage } from "#runtime/errors.ts";
import type { Logger } from "#runtime/logger.ts";
import { type Attachments, answerCni } from "./plugin.ts";

/** A request is a CNI configuration and some names; more is not ours. */
const MAX_REQUEST_BYTES = 1024 * 1024;

/**
 * Serves the plugin binary on a unix socket that only root may use: one request line, one answer line, end. Requests of
 * different containers run at once.
 */
export async function startCniServer(
  deps: { readonly attachments: Attachments; readonly log: Logger },
  config: { readonly path: string },
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", (error) => deps.log.debug("plugin went away", { error: error.message }));
    serve(deps, socket);
  });
  mkdirSync(dirname(config.path), { recursive: true });
  // A socket file of an agent that was killed would make us fail; two agents of one node are kept apart by the state lock.
  rmSync(config.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.path, resolve);
  });
  chmodSync(config.path, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function serve({ attachments, log }: { attachments: Attachments; log: Logger }, socket: Socket): void {
  let text = "";
  const onData = (chunk: string) => {
    text += chunk;
    const end = text.indexOf("\n");
    if (end < 0) {
      if (text.length > MAX_REQUEST_BYTES) socket.destroy();
      return;
    }
    socket.off("data", onData);
    const started = performance.now();
    answerCni(attachments, text.slice(0, end)).then(
      (answer) => {
        const fields = { ms: Math.round((performance.now() - started) * 10) / 10, exitCode: answer.exitCode };
        if (answer.exitCode !== 0) log.warn("plugin request failed", { ...fields, answer: answer.stdout });
        else log.debug("plugin request", fields);
        socket.end(`${JSON.stringify(answer)}\n`);
      },
      (thrown: unknown) => {
        log.error("plugin request crashed", { error: errorMessage(thrown) });
        socket.destroy();
      },
    );
  };
  socket.setEncoding("utf8").on("data", onData);
}
