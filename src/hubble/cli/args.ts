/** One flag of the command line. `bool` may stand alone or carry `=false`; a `list` may be repeated. */
export interface FlagSpec {
  readonly name: string;
  readonly short?: string;
  readonly kind: "bool" | "string" | "list" | "number" | "duration";
  readonly help: string;
  readonly default?: string;
  /** For completion: the values it takes. */
  readonly values?: readonly string[];
  readonly hidden?: boolean;
}

/** A flag as it was given; `not` when `--not` stood before it. */
export interface GivenFlag {
  readonly spec: FlagSpec;
  readonly value: string;
  readonly not: boolean;
}

export interface ParsedArgs {
  /** In the order of the command line. */
  readonly flags: readonly GivenFlag[];
  readonly positionals: readonly string[];
}

/** The command line cannot be understood; the message says what is wrong. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** Reads a command line, GNU style: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc` for bools. Throws UsageError. */
export function parseArguments(argv: readonly string[], specs: readonly FlagSpec[]): ParsedArgs {
  const flags: GivenFlag[] = [];
  const positionals: string[] = [];
  const rest = [...argv];
  let not = false;
  const give = (spec: FlagSpec, value: string) => {
    flags.push({ spec, value, not });
    not = false;
  };
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--") {
      positionals.push(...rest);
      break;
    }
    if (arg === "--not") {
      if (not) throw new UsageError("consecutive --not statements");
      not = true;
    } else if (arg.startsWith("--")) parseLong(arg, specs, rest, give);
    else if (arg.startsWith("-") && arg.length > 1) parseShort(arg, specs, rest, give);
    else positionals.push(arg);
  }
  if (not) throw new UsageError("trailing --not found in the arguments");
  return { flags, positionals };
}

type Give = (spec: FlagSpec, value: string) => void;

function parseLong(arg: string, specs: readonly FlagSpec[], rest: string[], give: Give): void {
  const equals = arg.indexOf("=");
  const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
  const spec = specs.find((candidate) => candidate.name === name);
  if (spec === undefined) throw new UsageError(`unknown flag: --${name}${suggestion(name, specs)}`);
  if (equals >= 0) give(spec, arg.slice(equals + 1));
  else if (spec.kind === "bool") give(spec, "true");
  else give(spec, takeValue(rest, `--${name}`));
}

function parseShort(arg: string, specs: readonly FlagSpec[], rest: string[], give: Give): void {
  let letters = arg.slice(1);
  while (letters !== "") {
    const letter = letters[0] ?? "";
    const spec = specs.find((candidate) => candidate.short === letter);
    if (spec === undefined) throw new UsageError(`unknown shorthand flag: '${letter}' in ${arg}`);
    letters = letters.slice(1);
    if (spec.kind === "bool" && !letters.startsWith("=")) give(spec, "true");
    else {
      give(spec, letters === "" ? takeValue(rest, `-${letter}`) : letters.replace(/^=/, ""));
      return;
    }
  }
}

function takeValue(rest: string[], flag: string): string {
  const value = rest.shift();
  if (value === undefined) throw new UsageError(`flag needs an argument: ${flag}`);
  return value;
}

function suggestion(name: string, specs: readonly FlagSpec[]): string {
  const near = specs.filter((spec) => !spec.hidden && distance(spec.name, name) <= 2).map((spec) => `--${spec.name}`);
  return near.length === 0 ? "" : `; did you mean ${near.slice(0, 3).join(" or ")}?`;
}

/** Edits between two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** What is wrong with a flag's value begins so. */
export function invalidArgument({ name, short }: Pick<FlagSpec, "name" | "short">, value: string): string {
  return `invalid argument "${value}" for "${short === undefined ? "" : `-${short}, `}--${name}" flag`;
}

/** The boolean of a flag's text. Throws UsageError naming the flag. */
export function parseBoolean(name: string, text: string): boolean {
  if (["true", "1", "t", "T", "TRUE", "True"].includes(text)) return true;
  if (["false", "0", "f", "F", "FALSE", "False"].includes(text)) return false;
  throw new UsageError(`invalid argument "${text}" for "--${name}" flag: expected true or false`);
}
