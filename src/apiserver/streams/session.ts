import type { Duplex, Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { errorMessage } from "#runtime/errors.ts";
import { ApiError } from "../errors.ts";
import type { JsonObject } from "../object.ts";
import type { ExitStatus, StreamSession } from "./pod-streams.ts";

/** The client's side of exec and attach, whatever the protocol that carries it. */
export interface Remote {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Terminal sizes as the client sends them. */
  onResize(handler: (size: { width: number; height: number }) => void): void;
  onGone(handler: () => void): void;
  /** Sends the Status of the end and closes. */
  finish(status: JsonObject): Promise<void>;
}

/** Runs a session to its end: pumps the streams, then sends how it ended. Never rejects. */
export async function runSession(start: () => Promise<StreamSession>, remote: Remote): Promise<void> {
  let session: StreamSession;
  try {
    session = await start();
  } catch (thrown) {
    await remote.finish(failure(thrown));
    return;
  }
  remote.onResize((size) => session.resize(size));
  remote.onGone(() => session.close());
  if (session.stdin && remote.stdin) void pump(remote.stdin, session.stdin, true);
  const outputs = [pump(session.stdout, remote.stdout, false), pump(session.stderr, remote.stderr, false)];
  const status = await session.exit.then(exitStatus, failure);
  // What the process wrote before its end must arrive; a background child that holds the pipe open must not keep us.
  await Promise.race([Promise.all(outputs), delay(1000)]);
  await remote.finish(status);
}

async function pump(from: Readable | undefined, to: Writable | undefined, end: boolean): Promise<void> {
  if (!from) return;
  if (!to) {
    from.resume();
    return;
  }
  // Either side may go at any time; the session's end is told by `exit`.
  await pipeline(from, to, { end }).catch(() => undefined);
}

const delay = (milliseconds: number) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });

/** The Status of a process's end in the form that `kubectl exec` turns into its own exit code. */
export function exitStatus({ code, message }: ExitStatus): JsonObject {
  if (code === 0 && !message) return { metadata: {}, status: "Success" };
  if (message && code === 0) return { metadata: {}, status: "Failure", message, reason: "InternalError", code: 500 };
  return {
    metadata: {},
    status: "Failure",
    message: message ?? `command terminated with non-zero exit code: exit status ${code}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(code) }] },
    code: 500,
  };
}

export function failure(thrown: unknown): JsonObject {
  if (thrown instanceof ApiError) return thrown.status;
  return { metadata: {}, status: "Failure", message: errorMessage(thrown), reason: "InternalError", code: 500 };
}

/** Reads `{"Width":80,"Height":24}` documents, one after the other, in any chunks. */
export function readResizes(stream: Readable | Duplex, handler: (size: { width: number; height: number }) => void): void {
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    for (let end = text.indexOf("}"); end >= 0; end = text.indexOf("}")) {
      const size = parseSize(text.slice(0, end + 1));
      if (size) handler(size);
      text = text.slice(end + 1);
    }
    if (text.length > 1000) text = "";
  });
}

export function parseSize(text: string): { width: number; height: number } | undefined {
  const width = Number(/"Width":\s*(\d+)/.exec(text)?.[1]);
  const height = Number(/"Height":\s*(\d+)/.exec(text)?.[1]);
  return width > 0 && height > 0 ? { width, height } : undefined;
}
