import { connect, type Socket } from "node:net";
import type { AccessRecord, LostMessage, PolicyMessage, ProxyMessage, StatusMessage } from "#proxy/protocol.ts";
import { createBackoff, sleep } from "#runtime/backoff.ts";
import type { Logger } from "#runtime/logger.ts";

export interface ProxyClient extends AsyncDisposable {
  /** Whether the proxy is there. Without it the kernel drops what is redirected. */
  readonly connected: boolean;
  readonly status: StatusMessage | undefined;
  /**
   * Gives the proxy a new whole policy. Resolves when it is in force there, or after `timeoutMs` or at once when the proxy is
   * away: it gets the newest policy as soon as it is back. True when acknowledged.
   */
  send(endpoints: PolicyMessage["endpoints"], timeoutMs: number): Promise<boolean>;
}

export interface ProxyClientDeps {
  readonly log: Logger;
  readonly onAccess: (message: AccessRecord) => void;
  readonly onLost: (message: LostMessage) => void;
}

/** Keeps a connection to the L7 proxy; after each connect the last policy is sent again. */
export function startProxyClient(deps: ProxyClientDeps, config: { readonly path: string }): ProxyClient {
  const { log } = deps;
  const controller = new AbortController();
  const acks = new Map<number, (acknowledged: boolean) => void>();
  let socket: Socket | undefined;
  let last: PolicyMessage | undefined;
  let status: StatusMessage | undefined;
  // The proxy refuses nothing by number; time makes them grow over restarts of ours.
  let revision = Date.now();

  const settle = (upTo: number, acknowledged: boolean) => {
    for (const [waiting, resolve] of [...acks]) {
      if (waiting > upTo) continue;
      acks.delete(waiting);
      resolve(acknowledged);
    }
  };
  const receive = (message: ProxyMessage) => {
    switch (message.type) {
      case "ack":
        return settle(message.revision, true);
      case "nack":
        log.error("the proxy refused the policy", { issues: message.issues });
        return settle(message.revision ?? revision, false);
      case "access":
      case "kafka-access":
      case "tls-access":
        return deps.onAccess(message);
      case "lost":
        return deps.onLost(message);
      case "status":
        status = message;
    }
  };
  const serve = async () => {
    const opened = connect(config.path);
    await new Promise<void>((resolve, reject) => opened.once("connect", resolve).once("error", reject));
    socket = opened;
    log.info("proxy connected", { path: config.path });
    const stop = () => opened.destroy();
    controller.signal.addEventListener("abort", stop, { once: true });
    try {
      if (last) opened.write(`${JSON.stringify(last)}\n`);
      else opened.write('{"type":"subscribe"}\n');
      for await (const line of readLines(opened)) receive(JSON.parse(line) as ProxyMessage);
    } finally {
      controller.signal.removeEventListener("abort", stop);
      socket = undefined;
      status = undefined;
      settle(Number.MAX_SAFE_INTEGER, false);
      opened.destroy();
    }
  };
  const done = (async () => {
    const backoff = createBackoff({ initial: 50, max: 1000 });
    while (!controller.signal.aborted) {
      try {
        await serve();
        backoff.reset();
        if (!controller.signal.aborted) log.warn("proxy went away, what is redirected to it is dropped until it is back");
      } catch (thrown) {
        log.debug("proxy not there", { error: String(thrown) });
      }
      await sleep(backoff.next(), controller.signal);
    }
  })();
  return {
    get connected() {
      return socket !== undefined;
    },
    get status() {
      return status;
    },
    send(endpoints, timeoutMs) {
      revision += 1;
      last = { type: "policy", revision, endpoints };
      if (!socket) return Promise.resolve(false);
      const mine = revision;
      socket.write(`${JSON.stringify(last)}\n`);
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          acks.delete(mine);
          resolve(false);
        }, timeoutMs);
        acks.set(mine, (acknowledged) => {
          clearTimeout(timer);
          resolve(acknowledged);
        });
      });
    },
    async [Symbol.asyncDispose]() {
      controller.abort();
      await done;
    },
  };
}

async function* readLines(socket: Socket): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of socket.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield line;
  }
}
