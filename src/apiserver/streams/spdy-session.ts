import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import { errorMessage } from "#runtime/errors.ts";
import type { KubeObject } from "../object.ts";
import type { AttachRequest, PodStreams, StreamSession } from "./pod-streams.ts";
import { type Remote, readResizes, runSession } from "./session.ts";
import { type SpdySession, type SpdyStream, startSpdySession } from "./spdy.ts";
import { splice } from "./splice.ts";

/** Exec and attach over SPDY: a stream for each of error, stdin, stdout, stderr and resize. */
export function serveSpdySession(transport: Duplex, request: AttachRequest, start: () => Promise<StreamSession>): SpdySession {
  const expected = new Set(["error"]);
  if (request.stdin) expected.add("stdin");
  if (request.stdout) expected.add("stdout");
  if (request.stderr && !request.tty) expected.add("stderr");
  if (request.tty) expected.add("resize");
  const streams = new Map<string, Duplex>();
  let started = false;
  const session = startSpdySession(transport, ({ headers, duplex }: SpdyStream) => {
    const type = headers.streamtype ?? "";
    streams.set(type, duplex);
    expected.delete(type);
    if (expected.size === 0 && !started) {
      started = true;
      void runSession(start, spdyRemote(session, streams));
    }
  });
  return session;
}

function spdyRemote(session: SpdySession, streams: ReadonlyMap<string, Duplex>): Remote {
  for (const type of ["stdout", "stderr", "error"]) streams.get(type)?.resume();
  return {
    stdin: streams.get("stdin"),
    stdout: streams.get("stdout"),
    stderr: streams.get("stderr"),
    onResize(handler) {
      const resize = streams.get("resize");
      if (resize) readResizes(resize, handler);
    },
    onGone: (handler) => void session.closed.then(handler),
    async finish(status) {
      for (const type of ["stdout", "stderr"]) streams.get(type)?.end();
      const error = streams.get("error");
      error?.end(JSON.stringify(status));
      if (error) await finished(error, { readable: false }).catch(() => undefined);
      // The client closes when it has read everything; one that does not is cut.
      setTimeout(() => session.close(), 5000).unref();
    },
  };
}

/** Port-forward over SPDY: for each connection an error and a data stream with the same request id. */
export function serveSpdyPorts(transport: Duplex, streams: PodStreams, pod: KubeObject): SpdySession {
  const waiting = new Map<string, { error?: Duplex; data?: Duplex }>();
  return startSpdySession(transport, ({ headers, duplex }) => {
    const id = `${headers.requestid ?? ""}/${headers.port ?? ""}`;
    const pair = waiting.get(id) ?? {};
    waiting.set(id, pair);
    if (headers.streamtype === "error") pair.error = duplex;
    else pair.data = duplex;
    if (!pair.error || !pair.data) return;
    waiting.delete(id);
    void forward(streams, pod, Number(headers.port), pair.data, pair.error);
  });
}

async function forward(streams: PodStreams, pod: KubeObject, port: number, data: Duplex, error: Duplex): Promise<void> {
  error.resume();
  try {
    const connection = await streams.portForward({ pod, port });
    await splice(data, connection);
    error.end();
  } catch (thrown) {
    error.end(`error forwarding port ${port} to pod ${pod.metadata.name}: ${errorMessage(thrown)}`);
    data.end();
  }
}
