import type { ParsedArgs } from "./args.ts";
import type { Settings } from "./settings.ts";

/** What every command gets: its arguments, its settings and where to write. */
export interface CommandContext {
  readonly args: ParsedArgs;
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly stdin: NodeJS.ReadableStream;
  /** Standard output is a terminal. */
  readonly terminal: boolean;
  /** Standard error is a terminal: a person reads hints there. */
  readonly errTerminal: boolean;
  readonly signal: AbortSignal;
  readonly version: string;
}
