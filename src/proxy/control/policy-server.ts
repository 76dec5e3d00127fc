import { chmodSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Logger } from "#runtime/logger.ts";
import { parsePolicyMessage } from "../policy/parse-policy.ts";
import type { PolicyMessage, ProxyMessage, StatusMessage } from "../protocol.ts";
import type { AccessStream } from "./access-stream.ts";

export interface PolicyServerDeps {
  readonly log: Logger;
  readonly records: AccessStream;
  /** Puts the policy in force and on disk; throws when it cannot be kept. */
  apply(policy: PolicyMessage): void;
  status(): StatusMessage;
  /** What else the agent may say, by the message's type. Must not throw. */
  readonly handlers?: Readonly<Record<string, AgentHandler>>;
}

/** Takes a message of the agent, and answers it. */
export type AgentHandler = (message: { readonly type: string }, send: (answer: ProxyMessage) => void) => void;

/** The longest line taken: a snapshot of a big node is a few megabytes. */
const MAX_LINE = 256 * 1024 * 1024;

/**
 * Listens for the agent on a Unix socket that only root may open. What is there already is of a proxy that died, or whose turn is over, and replaced.
 */
export async function startPolicyServer(deps: PolicyServerDeps, path: string): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serveAgent(socket, deps);
  });
  await listen(server, path);
  return {
    async [Symbol.asyncDispose]() {
      deps.records.flush();
      for (const socket of sockets) socket.destroySoon();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  try {
    unlinkSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
  }
  // The file must not be open to others even for a moment.
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => resolve());
      process.umask(mask);
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
}

function serveAgent(socket: Socket, deps: PolicyServerDeps): void {
  const sink = { write: (lines: string) => socket.write(lines) };
  const send = (message: ProxyMessage) => void socket.write(`${JSON.stringify(message)}\n`);
  let subscribed = false;
  const subscribe = () => {
    subscribed = true;
    deps.records.connect(sink);
    owner.set(deps.records, sink);
  };
  let pending: string[] = [];
  let length = 0;
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = text.split("\n");
    for (const [i, line] of lines.entries()) {
      pending.push(line);
      length += line.length;
      if (length > MAX_LINE) {
        deps.log.error("agent sent a line that is too long, closing", { limit: MAX_LINE });
        socket.destroy();
        return;
      }
      if (i === lines.length - 1) break;
      const whole = pending.join("");
      [pending, length] = [[], 0];
      if (whole !== "") receive(whole, deps, send, subscribe);
    }
  });
  socket.on("drain", () => {
    if (owner.get(deps.records) === sink) deps.records.drained();
  });
  socket.on("error", (error) => deps.log.debug("agent connection broke", { error: error.message }));
  socket.on("close", () => {
    if (!subscribed || owner.get(deps.records) !== sink) return;
    deps.records.connect(undefined);
    deps.log.info("agent went away; policy stays in force, access records are kept", { waiting: deps.records.waiting });
  });
}

/** Which connection gets the records: the one that asked last. */
const owner = new WeakMap<AccessStream, object>();

function receive(line: string, deps: PolicyServerDeps, send: (message: ProxyMessage) => void, subscribe: () => void): void {
  const nack = (revision: number | null, path: string, message: string) => {
    deps.log.warn("policy refused", { revision, path, message });
    send({ type: "nack", revision, issues: [{ path, message }] });
  };
  let message: { readonly type?: unknown; readonly revision?: unknown };
  try {
    message = JSON.parse(line) as typeof message;
  } catch (thrown) {
    nack(null, "", `not JSON: ${(thrown as Error).message}`);
    return;
  }
  switch (message?.type) {
    case "status":
      send(deps.status());
      return;
    case "subscribe":
      subscribe();
      return;
    case "policy":
      subscribe();
      receivePolicy(message, deps, send);
      return;
    default: {
      const handle = deps.handlers?.[String(message?.type)];
      if (handle === undefined) {
        nack(null, "type", "must be policy, subscribe, status or one of the DNS messages");
        return;
      }
      subscribe();
      handle({ ...message, type: String(message.type) }, send);
    }
  }
}

function receivePolicy(message: { readonly revision?: unknown }, deps: PolicyServerDeps, send: (message: ProxyMessage) => void): void {
  const revision = typeof message.revision === "number" ? message.revision : null;
  const parsed = parsePolicyMessage(message);
  if ("issues" in parsed) {
    deps.log.warn("policy refused", { revision, issues: parsed.issues });
    send({ type: "nack", revision, issues: parsed.issues });
    return;
  }
  try {
    deps.apply(parsed.policy);
    send({ type: "ack", revision: parsed.policy.revision });
  } catch (thrown) {
    deps.log.error("policy is in force but could not be saved", { revision, error: (thrown as Error).message });
    send({ type: "nack", revision, issues: [{ path: "", message: `cannot save the policy: ${(thrown as Error).message}` }] });
  }
}
