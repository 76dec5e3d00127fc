import { errnoName } from "#sys/errno.ts";

/** An object could not be loaded. `code` is an errno name, or "EUNKNOWN". */
export class LoadError extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.name = "LoadError";
    this.code = code;
  }
}

/** The verifier refused a program. The message has the line that tells why; `log` the end of what the verifier said. */
export class VerifierError extends LoadError {
  readonly program: string;
  readonly log: string;

  constructor(object: string, program: string, log: string, code: string) {
    super(`${object}: the verifier refuses ${program}: ${tellingLine(log)}`, code);
    this.name = "VerifierError";
    this.program = program;
    this.log = log;
  }
}

/** A pinned or loaded map is not of the expected shape. */
export class ShapeError extends Error {
  readonly code = "ESHAPE";

  constructor(map: string, difference: string) {
    super(`map ${map} has another shape: ${difference}`);
    this.name = "ShapeError";
  }
}

/** The last line of a verifier's log that is neither its statistics nor a state dump. */
export function tellingLine(log: string): string {
  const lines = log
    .split(/[\n\0]/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const noise =
    /^(processed \d+ insns|verification time|stack depth|max_states|mark_precise|\(.*last_idx|from \d+ to \d+|; |\d+: |func#|R\d+(_\w+)?=)/;
  return lines.findLast((line) => !noise.test(line)) ?? lines.at(-1) ?? "no log";
}

/** What libbpf's answer to a failed load means. */
export function loadFailure(
  object: string,
  failure: { readonly errno: number; readonly message: string; readonly log: string },
): LoadError {
  const code = errnoName(failure.errno);
  const refused = /prog '([^']+)': (?:BPF program load failed|failed to load|-- BEGIN)/.exec(failure.message)?.[1];
  if (refused !== undefined && failure.log.trim() !== "") return new VerifierError(object, refused, failure.log, code);
  const why = failure.message
    .split("\n")
    .map((line) => line.replace(/^libbpf: /, ""))
    .find((line) => line !== "");
  return new LoadError(`${object}: ${why ?? "cannot be loaded"} (${code})`, code);
}
