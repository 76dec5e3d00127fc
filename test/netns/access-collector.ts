import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { AccessMessage, PolicyMessage, ProxyMessage } from "#proxy/protocol.ts";

/** The agent's side of the proxy's socket, for tests. */
export interface AccessCollector {
  /** Resolves when the proxy has the policy in force. */
  setPolicy(endpoints: PolicyMessage["endpoints"]): Promise<void>;
  /** The records so far, once there are at least `count` of them; they are forgotten then. */
  take(count: number): Promise<readonly AccessMessage[]>;
  close(): void;
}

const POLL_MS = 5;

/** Connects to a proxy. */
export async function createAccessCollector(path: string): Promise<AccessCollector> {
  const socket = connect(path);
  await once(socket, "connect");
  const records: AccessMessage[] = [];
  const acks = new Map<number, (message: ProxyMessage) => void>();
  let revision = 0;
  let rest = "";
  socket.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = JSON.parse(line) as ProxyMessage;
      if (message.type === "access") records.push(message);
      if (message.type === "ack" || message.type === "nack") acks.get(message.revision ?? 0)?.(message);
    }
  });
  return {
    async setPolicy(endpoints) {
      revision += 1;
      const policy: PolicyMessage = { type: "policy", revision, endpoints };
      const answered = new Promise<ProxyMessage>((resolve) => acks.set(revision, resolve));
      socket.write(`${JSON.stringify(policy)}\n`);
      const answer = await answered;
      if (answer.type !== "ack") throw new Error(`policy refused: ${JSON.stringify(answer)}`);
    },
    async take(count) {
      while (records.length < count) await wait(POLL_MS);
      // Records are sent in small batches: what is under way belongs to the past, too.
      await wait(POLL_MS * 4);
      return records.splice(0);
    },
    close: () => socket.destroy(),
  };
}
