import { connect, type Socket } from "node:net";
import type {
  DnsAccessMessage,
  DnsCacheEntry,
  DnsCacheMessage,
  DnsCacheRequest,
  DnsCleanRequest,
  DnsPolicyMessage,
} from "#proxy/dns/protocol.ts";
import type { AccessRecord, LostMessage, PolicyMessage, ProxyMessage, StatusMessage } from "#proxy/protocol.ts";
import { createBackoff, sleep } from "#runtime/backoff.ts";
import { CodedError } from "#runtime/errors.ts";
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
  /** The same for the DNS policy. */
  sendDns(policy: Pick<DnsPolicyMessage, "settings" | "endpoints">, timeoutMs: number): Promise<boolean>;
  /** The names that the proxy has learned; with `dns-clean` those that it forgot. Rejects when the proxy is away or does not answer. */
  names(request: DnsCacheRequest | DnsCleanRequest): Promise<readonly DnsCacheEntry[]>;
}

export class ProxyClientError extends CodedError {}

export interface ProxyClientDeps {
  readonly log: Logger;
  readonly onAccess: (message: AccessRecord | DnsAccessMessage) => void;
  /** The names that a proxy had learned before we came. */
  readonly onNames: (entries: readonly DnsCacheEntry[]) => void;
  readonly onLost: (message: LostMessage) => void;
}

/** Keeps a connection to the L7 proxy; after each connect the last policy is sent again. */
export function startProxyClient(deps: ProxyClientDeps, config: { readonly path: string }): ProxyClient {
  const { log } = deps;
  const controller = new AbortController();
  const acks = new Map<number, (acknowledged: boolean) => void>();
  let socket: Socket | undefined;
  let last: PolicyMessage | undefined;
  let lastDns: DnsPolicyMessage | undefined;
  const asked: NameRequest[] = [];
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
      case "dns-access":
        return deps.onAccess(message);
      case "dns-cache":
        return takeNames(asked, message);
      case "lost":
        return deps.onLost(message);
      case "status":
        status = message;
    }
  };
  /** Answers come in the order of the questions. */
  const names = (request: DnsCacheRequest | DnsCleanRequest) =>
    new Promise<readonly DnsCacheEntry[]>((resolve, reject) => {
      if (!socket) {
        reject(new ProxyClientError("proxy-away", "the proxy is not there"));
        return;
      }
      asked.push({ entries: [], resolve, reject });
      socket.write(`${JSON.stringify(request)}\n`);
    });
  /** Sends a policy and waits for its acknowledgement. */
  const sendPolicy = (policy: PolicyMessage | DnsPolicyMessage, timeoutMs: number): Promise<boolean> => {
    if (!socket) return Promise.resolve(false);
    socket.write(`${JSON.stringify(policy)}\n`);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        acks.delete(policy.revision);
        resolve(false);
      }, timeoutMs);
      acks.set(policy.revision, (acknowledged) => {
        clearTimeout(timer);
        resolve(acknowledged);
      });
    });
  };
  const serve = async () => {
    const opened = connect(config.path);
    await new Promise<void>((resolve, reject) => opened.once("connect", resolve).once("error", reject));
    socket = opened;
    log.info("proxy connected", { path: config.path });
    const stop = () => opened.destroy();
    controller.signal.addEventListener("abort", stop, { once: true });
    try {
      for (const policy of [last ?? { type: "subscribe" }, lastDns]) if (policy) opened.write(`${JSON.stringify(policy)}\n`);
      names({ type: "dns-cache" }).then(deps.onNames, (thrown: unknown) => log.debug("learned names not read", { error: String(thrown) }));
      for await (const line of readLines(opened)) receive(JSON.parse(line) as ProxyMessage);
    } finally {
      controller.signal.removeEventListener("abort", stop);
      socket = undefined;
      status = undefined;
      settle(Number.MAX_SAFE_INTEGER, false);
      for (const one of asked.splice(0)) one.reject(new ProxyClientError("proxy-away", "the proxy went away"));
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
      return sendPolicy(last, timeoutMs);
    },
    sendDns(policy, timeoutMs) {
      revision += 1;
      lastDns = { type: "dns-policy", revision, ...policy };
      return sendPolicy(lastDns, timeoutMs);
    },
    names,
    async [Symbol.asyncDispose]() {
      controller.abort();
      await done;
    },
  };
}

interface NameRequest {
  readonly entries: DnsCacheEntry[];
  readonly resolve: (entries: readonly DnsCacheEntry[]) => void;
  readonly reject: (reason: Error) => void;
}

function takeNames(asked: NameRequest[], { entries, last }: DnsCacheMessage): void {
  const [first] = asked;
  first?.entries.push(...entries);
  if (!last) return;
  asked.shift();
  first?.resolve(first.entries);
}

async function* readLines(socket: Socket): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of socket.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield line;
  }
}
