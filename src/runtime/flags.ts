import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CodedError } from "./errors.ts";

interface FlagOf<Type extends string, Value> {
  readonly type: Type;
  readonly default: Value;
  /** One sentence for `--help` and the reference page. */
  readonly help: string;
}

/**
 * One setting of a program. `list` is comma- or space-separated; `duration` is written `30s`, `5m`, `1h` and read in milliseconds; `unused` is one of upstream's that there is
 * nothing to set for here, and `help` says why: it is taken, any value of it, so that upstream's settings work as they are.
 */
export type Flag =
  | FlagOf<"string", string>
  | FlagOf<"boolean", boolean>
  | FlagOf<"number", number>
  | FlagOf<"duration", number>
  | FlagOf<"unused", "">
  | FlagOf<"list", readonly string[]>;

export type FlagSet = Readonly<Record<string, Flag>>;

export type FlagValues<Set extends FlagSet> = {
  readonly [Name in keyof Set]: Set[Name] extends FlagOf<string, infer Value> ? Widen<Value> : never;
};

type Widen<T> = T extends boolean ? boolean : T extends number ? number : T extends string ? string : readonly string[];

/** Keeps the flags' own types, so that `readFlags` returns them typed. */
export function defineFlags<const Set extends FlagSet>(set: Set): Set {
  return set;
}

export class FlagError extends CodedError {}

/**
 * The value of every flag. First wins: command line `--name`, environment `CILIUM_NAME`, the files of the directory
 * `--config-dir` (a mounted ConfigMap, one file a key), default. Throws `FlagError` naming the flag and what is allowed;
 * unknown flags on the command line are refused, unknown keys of the ConfigMap are not ours and are left alone.
 */
export function readFlags<const Set extends FlagSet>(
  set: Set,
  argv: readonly string[] = process.argv.slice(2),
  env: Readonly<Record<string, string | undefined>> = process.env,
): FlagValues<Set> {
  const given = parseCommandLine(set, argv);
  const text = (name: string) => given[name] ?? env[environmentName(name)];
  const directory = "config-dir" in set ? text("config-dir") : undefined;
  const files = directory ? readConfigDirectory(directory) : {};
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(set)) {
    const found = text(name) ?? files[name];
    values[name] = found === undefined ? flag.default : parseValue(name, flag, found);
  }
  return values as FlagValues<Set>;
}

/** The settings among `values` that were set and change nothing, with the reason. */
export function unusedSettings(set: FlagSet, values: Readonly<Record<string, unknown>>): Record<string, string> {
  const names = Object.keys(set).filter((name) => set[name]?.type === "unused" && values[name] !== "");
  return Object.fromEntries(names.map((name) => [name, set[name]?.help ?? ""]));
}

/** `policy-audit-mode` → `CILIUM_POLICY_AUDIT_MODE`. */
export function environmentName(flag: string): string {
  return `CILIUM_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** The `--help` text of a program. */
export function formatHelp(program: string, purpose: string, set: FlagSet): string {
  const rows = Object.entries(set).map(
    ([name, flag]) => [`--${name} ${flag.type === "boolean" || flag.type === "unused" ? "" : flag.type}`.trimEnd(), flag] as const,
  );
  const width = Math.max(...rows.map(([left]) => left.length));
  const section = (unused: boolean) =>
    rows
      .filter(([, { type }]) => (type === "unused") === unused)
      .map(([left, flag]) => `  ${left.padEnd(width)}  ${flag.help}${formatDefault(flag)}\n`)
      .join("");
  const unused = section(true);
  const rest = unused === "" ? "" : `\nTaken, since Cilium has them, and without effect here:\n${unused}`;
  return `${purpose}\n\nUsage: ${program} [flags]\n\nFlags (also as environment CILIUM_<FLAG> and as keys of --config-dir):\n${section(false)}${rest}`;
}

function formatDefault(flag: Flag): string {
  if (flag.default === "" || (Array.isArray(flag.default) && flag.default.length === 0)) return "";
  const value = flag.type === "duration" ? `${flag.default / 1000}s` : String(flag.default);
  return ` (default ${value})`;
}

function parseCommandLine(set: FlagSet, argv: readonly string[]): Record<string, string> {
  const options = Object.fromEntries(Object.keys(set).map((name) => [name, { type: "string" as const }]));
  // A boolean flag may stand alone (`--debug`) or carry a value (`--debug=false`).
  const standsAlone = (name: string, next: string | undefined) =>
    set[name]?.type === "boolean" || (set[name]?.type === "unused" && (next === undefined || next.startsWith("--")));
  const args = argv.map((arg, i) => (arg.startsWith("--") && standsAlone(arg.slice(2), argv[i + 1]) ? `${arg}=true` : arg));
  try {
    const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
    return values as Record<string, string>;
  } catch (thrown) {
    throw new FlagError("bad-flag", `${(thrown as Error).message.split(".")[0]}; see --help`, { cause: thrown });
  }
}

function readConfigDirectory(directory: string): Record<string, string> {
  try {
    const names = readdirSync(directory).filter((name) => !name.startsWith("."));
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(directory, name), "utf8").trim()]));
  } catch (thrown) {
    throw new FlagError("bad-config-dir", `cannot read --config-dir ${directory}`, { cause: thrown });
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function parseValue(name: string, flag: Flag, text: string): unknown {
  switch (flag.type) {
    case "string":
    case "unused":
      return text;
    case "list":
      return text.split(/[\s,]+/).filter((item) => item !== "");
    case "boolean":
      if (text === "true" || text === "false") return text === "true";
      throw new FlagError("bad-flag", `--${name}: found "${text}", allowed are true and false`);
    case "number": {
      const value = Number(text);
      if (text.trim() !== "" && Number.isFinite(value)) return value;
      throw new FlagError("bad-flag", `--${name}: found "${text}", a number is needed`);
    }
    case "duration":
      return parseDuration(name, text);
  }
}

function parseDuration(name: string, text: string): number {
  if (text === "0") return 0;
  const parts = [...text.matchAll(/([0-9.]+)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) {
    throw new FlagError("bad-flag", `--${name}: found "${text}", a duration such as 500ms, 30s, 5m or 1h30m is needed`);
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ""] ?? 0), 0);
}
