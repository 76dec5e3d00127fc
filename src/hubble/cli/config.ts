import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type FlagSpec, UsageError } from "./args.ts";
import type { CommandContext } from "./context.ts";
import { FORMAT_FLAGS, GLOBAL_FLAGS, SERVER_FLAGS } from "./flags.ts";
import { configPath, readConfig } from "./settings.ts";

const KEYS: readonly FlagSpec[] = [...SERVER_FLAGS, ...FORMAT_FLAGS, ...GLOBAL_FLAGS].filter(
  ({ name }) => name !== "help" && name !== "config",
);

/** `hubble config view|get KEY|set KEY VALUE|reset [KEY]`. */
export async function config(context: CommandContext): Promise<number> {
  const [verb, key, value] = context.args.positionals;
  const place = configPath(context.settings.text("config") || undefined, context.env);
  switch (verb) {
    case "view":
      context.out(
        await yaml(
          Object.fromEntries([...KEYS].sort((a, b) => (a.name < b.name ? -1 : 1)).map((spec) => [spec.name, settingOf(context, spec)])),
        ),
      );
      return 0;
    case "get":
      context.out(`${settingOf(context, keySpec(key))}\n`);
      return 0;
    case "set": {
      const spec = keySpec(key);
      await write(place.path, { ...(await readConfig(place)), [spec.name]: [value ?? spec.default ?? ""] });
      return 0;
    }
    case "reset": {
      const before = key === undefined ? {} : await readConfig(place);
      await write(
        place.path,
        key === undefined ? {} : Object.fromEntries(Object.entries(before).filter(([name]) => name !== keySpec(key).name)),
      );
      return 0;
    }
    default:
      throw new UsageError(`unknown command "${verb ?? ""}" for "hubble config": expected get, reset, set or view`);
  }
}

function keySpec(key: string | undefined): FlagSpec {
  const spec = KEYS.find(({ name }) => name === key);
  if (spec === undefined) throw new UsageError(`unknown key: ${key ?? ""}`);
  return spec;
}

function settingOf({ settings }: CommandContext, spec: FlagSpec): string | boolean | readonly string[] {
  if (spec.kind === "bool") return settings.bool(spec.name);
  return spec.kind === "list" ? settings.list(spec.name) : settings.text(spec.name);
}

async function yaml(value: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  return stringify(value);
}

async function write(path: string, values: Readonly<Record<string, readonly string[]>>): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const plain = Object.entries(values).map(([key, list]) => [key, list.length === 1 ? list[0] : list]);
  writeFileSync(path, await yaml(Object.fromEntries(plain)), { mode: 0o600 });
}
