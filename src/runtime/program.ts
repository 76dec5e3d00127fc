import { errorMessage, toError } from "./errors.ts";

/** What a command's main gets: its signal, which aborts as a program's does once it was asked for. */
export type CommandMain = (signal: () => AbortSignal) => ReturnType<Main>;

/** What a program's main gets: the signal aborts at SIGINT or SIGTERM. The returned number is the exit code. */
export type Main = (signal: AbortSignal) => Promise<number | undefined> | Promise<void>;

const FORCED_EXIT_MS = 10_000;

/**
 * Runs a program to its end: SIGINT and SIGTERM abort the signal, a second one or `forcedExitMs` (ten seconds) end the process at once. A
 * throw prints one line on standard error (the stack too with CILIUM_DEBUG=1) and exits with 1.
 */
export function runProgram(name: string, main: Main, { forcedExitMs = FORCED_EXIT_MS } = {}): void {
  runMain(name, () => main(abortAtSignals(forcedExitMs)));
}

/**
 * As `runProgram`, for commands most of which have nothing to clean up: as long as none asks for the signal, SIGINT and SIGTERM end the process
 * at once, even in the middle of a computation, which a handler would have to wait for.
 */
export function runCommand(name: string, main: CommandMain): void {
  let signal: AbortSignal | undefined;
  runMain(name, () =>
    main(() => {
      signal ??= abortAtSignals(FORCED_EXIT_MS);
      return signal;
    }),
  );
}

function abortAtSignals(forcedExitMs: number): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    setTimeout(() => process.exit(143), forcedExitMs).unref();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return controller.signal;
}

function runMain(name: string, main: () => ReturnType<Main>): void {
  const fail = (thrown: unknown) => {
    process.stderr.write(`${name}: ${errorMessage(thrown)}\n`);
    if (process.env.CILIUM_DEBUG) process.stderr.write(`${toError(thrown).stack}\n`);
    process.exit(1);
  };
  process.on("unhandledRejection", fail);
  process.on("uncaughtException", fail);
  // A reader that goes away, as `head` does, is no failure.
  process.stdout.on("error", () => process.exit(0));
  main().then((code) => exitWhenWritten(code ?? 0), fail);
}

/** Ends the process once a pipe has taken all that was written: `process.exit` alone cuts it off. */
function exitWhenWritten(code: number): void {
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
}
