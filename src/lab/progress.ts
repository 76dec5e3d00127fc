import type { WriteStream } from "node:tty";

/** Says what is being done, with the time it took: one line that changes on a terminal, one line a step elsewhere. */
export interface Progress {
  step(text: string): void;
  /** More about the present step; shown on terminals only. */
  detail(text: string): void;
  done(text: string): void;
  fail(text: string): void;
}

const CLEAR = "\r\x1b[2K";

/** Progress on this stream, from now on. */
export function createProgress(stream: WriteStream, now: () => number = () => performance.now()): Progress {
  const start = now();
  const terminal = stream.isTTY === true;
  let current = "";
  const seconds = () => `${((now() - start) / 1000).toFixed(1)} s`;
  const show = (text: string) => stream.write(terminal ? `${CLEAR}${text}` : `${text}\n`);
  const end = (mark: string, text: string) => {
    current = "";
    stream.write(`${terminal ? CLEAR : ""}${mark} ${text} (${seconds()})\n`);
  };
  return {
    step(text) {
      current = text;
      show(`… ${text} (${seconds()})`);
    },
    detail(text) {
      if (terminal) show(`… ${current}: ${text} (${seconds()})`);
    },
    done: (text) => end("✓", text),
    fail: (text) => end("✗", text),
  };
}
