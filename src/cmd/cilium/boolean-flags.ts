import type { Command } from "commander";

/**
 * The command line with upstream's form of boolean flags, `--wait=true` and `--wait=false`, in commander's: with the flag, or without it. Only flags
 * that take no value anywhere in the program are touched, and nothing behind `--`.
 */
export function withPlainBooleans(argv: readonly string[], program: Command): string[] {
  const options = allCommands(program).flatMap((command) => command.options);
  const isBoolean = (name: string) => {
    const named = options.filter(({ long }) => long === name);
    return named.length > 0 && named.every((option) => option.isBoolean());
  };
  const end = argv.indexOf("--");
  return argv.flatMap((arg, index) => {
    const [, name, value] = /^(--[a-z-]+)=(true|false)$/.exec(arg) ?? [];
    if (name === undefined || (end >= 0 && index > end) || !isBoolean(name)) return [arg];
    return value === "true" ? [name] : [];
  });
}

function allCommands(program: Command): Command[] {
  return [program, ...program.commands.flatMap(allCommands)];
}
