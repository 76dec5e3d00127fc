import type { Readable } from "node:stream";

/** What a container wrote before its first client came, once. */
export interface EarlyOutput {
  /** Hands it over; undefined when that was done before. From now on nothing is kept: the client reads by itself. */
  take(): { readonly stdout: Buffer; readonly stderr: Buffer } | undefined;
}

const KEPT_BYTES = 64 * 1024;

/**
 * Keeps the last 64 KiB of each stream for the client who started the container in order to talk to it: `kubectl run -i` attaches only
 * after it has seen the pod run, when a short command has said all, and a shell its prompt.
 */
export function keepEarlyOutput(stdout: Readable, stderr: Readable): EarlyOutput {
  const kept = [keepTail(stdout), keepTail(stderr)] as const;
  let taken = false;
  return {
    take() {
      if (taken) return undefined;
      taken = true;
      return { stdout: kept[0](), stderr: kept[1]() };
    },
  };
}

function keepTail(stream: Readable): () => Buffer {
  let tail = Buffer.alloc(0);
  const keep = (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-KEPT_BYTES);
  };
  stream.on("data", keep);
  return () => {
    stream.off("data", keep);
    return tail;
  };
}
