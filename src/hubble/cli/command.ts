import type { FlagSpec } from "./args.ts";
import type { CommandContext } from "./context.ts";

/** A command of `hubble`. Its code is loaded when it runs. */
export interface Command {
  readonly path: readonly string[];
  readonly help: string;
  readonly usage: string;
  readonly flags: readonly FlagSpec[];
  readonly aliases?: readonly string[];
  /** What may follow, for completion. */
  readonly arguments?: readonly string[];
  readonly run: (context: CommandContext) => Promise<number>;
}
