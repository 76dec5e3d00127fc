import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type FlagSpec, invalidArgument, type ParsedArgs, parseBoolean, UsageError } from "./args.ts";

const MAX_COUNT = 0xffff_ffff_ffff_ffffn;

type Environment = Readonly<Record<string, string | undefined>>;

/** The value of every flag: command line, then environment `HUBBLE_<FLAG>`, then the config file, then the default. */
export interface Settings {
  /** Whether somebody set it, wherever. */
  has(flag: string): boolean;
  text(flag: string): string;
  bool(flag: string): boolean;
  /** Undefined when it is not set. Throws UsageError for text that is no whole number. */
  number(flag: string): number | undefined;
  /** The same for what may be as large as 64 bits. */
  count(flag: string): bigint | undefined;
  /** Milliseconds. Throws UsageError. */
  duration(flag: string): number;
  /** Values, apart at commas. */
  list(flag: string): readonly string[];
  /** Values as they are. */
  texts(flag: string): readonly string[];
}

/** Settings of a command. Rejects with UsageError for a config file that is named but cannot be read. */
export async function readSettings(args: ParsedArgs, specs: readonly FlagSpec[], env: Environment): Promise<Settings> {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const given = new Map<string, string[]>();
  for (const { spec, value } of args.flags) given.set(spec.name, [...(given.get(spec.name) ?? []), value]);
  const config = await readConfig(configPath(given.get("config")?.at(-1), env));
  const found = (flag: string): readonly string[] | undefined => {
    const fromEnv = env[`HUBBLE_${flag.toUpperCase().replaceAll("-", "_")}`];
    return given.get(flag) ?? (fromEnv === undefined || fromEnv === "" ? undefined : [fromEnv]) ?? config[flag];
  };
  const count = (flag: string) => {
    const value = found(flag)?.at(-1);
    if (value === undefined) return undefined;
    if (!/^\d+$/.test(value) || BigInt(value) > MAX_COUNT)
      throw new UsageError(`${invalidArgument({ name: flag }, value)}: expected a whole number`);
    return BigInt(value);
  };
  const text = (flag: string) => found(flag)?.at(-1) ?? byName.get(flag)?.default ?? "";
  return {
    has: (flag) => found(flag) !== undefined,
    text,
    bool: (flag) => text(flag) !== "" && parseBoolean(flag, text(flag)),
    number(flag) {
      const value = count(flag);
      return value === undefined ? undefined : Number(value);
    },
    count,
    duration: (flag) => parseGoDuration(flag, text(flag)),
    list: (flag) => (found(flag) ?? []).flatMap((value) => value.split(",")).filter((value) => value !== ""),
    texts: (flag) => found(flag) ?? [],
  };
}

const UNIT_MS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function parseGoDuration(flag: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (text === "0") return 0;
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) {
    throw new UsageError(`invalid argument "${text}" for "--${flag}" flag: expected a duration such as 500ms, 5s or 1m30s`);
  }
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ""] ?? 0), 0);
}

/** The file `--config` or HUBBLE_CONFIG names, else the first of the usual places that exists, else the first of them. */
export function configPath(named: string | undefined, env: Environment): { readonly path: string; readonly named: boolean } {
  const wanted = named ?? env.HUBBLE_CONFIG;
  if (wanted !== undefined && wanted !== "") return { path: wanted, named: true };
  const places = defaultPlaces(env);
  return { path: places.find((path) => existsSync(path)) ?? places[0] ?? "config.yaml", named: false };
}

function defaultPlaces(env: Environment): string[] {
  const home = env.HOME ?? homedir();
  const xdg = env.XDG_CONFIG_HOME ?? join(home, ".config");
  return [join(xdg, "hubble", "config.yaml"), join(home, ".hubble", "config.yaml")];
}

/** The keys of a config file as texts. Empty when it does not exist and nobody named it. */
export async function readConfig({
  path,
  named,
}: {
  readonly path: string;
  readonly named: boolean;
}): Promise<Record<string, readonly string[]>> {
  if (!existsSync(path)) {
    if (named) throw new UsageError(`config file ${path} does not exist`);
    return {};
  }
  const { parse } = await import("yaml");
  const document: unknown = parse(readFileSync(path, "utf8"));
  if (document === null || document === undefined) return {};
  if (typeof document !== "object" || Array.isArray(document)) throw new UsageError(`config file ${path}: expected keys and values`);
  return Object.fromEntries(
    Object.entries(document).map(([key, value]) => [key, Array.isArray(value) ? value.map(String) : [String(value)]]),
  );
}
