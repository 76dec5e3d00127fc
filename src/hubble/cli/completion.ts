import { type FlagSpec, UsageError } from "./args.ts";
import type { Command } from "./command.ts";
import type { CommandContext } from "./context.ts";

/** `hubble completion bash|zsh|fish`. */
export async function completion(context: CommandContext, commands: readonly Command[]): Promise<number> {
  const [shell] = context.args.positionals;
  switch (shell) {
    case "bash":
      context.out(bash(wordsOf(commands)));
      return 0;
    case "zsh":
      context.out(`#compdef hubble\nautoload -U +X bashcompinit && bashcompinit\n${bash(wordsOf(commands))}`);
      return 0;
    case "fish":
      context.out(fish(commands));
      return 0;
    default:
      throw new UsageError(`unknown shell "${shell ?? ""}": expected bash, zsh or fish`);
  }
}

interface Words {
  readonly name: string;
  readonly arguments: readonly string[];
  readonly flags: readonly FlagSpec[];
}

function wordsOf(commands: readonly Command[]): Words[] {
  return commands
    .filter(({ path }) => path.length === 1)
    .map((command) => ({
      name: command.path[0] ?? "",
      arguments: command.arguments ?? [],
      flags: command.flags.filter(({ hidden }) => !hidden),
    }));
}

function bash(all: readonly Words[]): string {
  const cases = all.map(
    ({ name, arguments: words, flags }) => `    ${name}) words="${[...words, ...flags.map((flag) => `--${flag.name}`)].join(" ")}" ;;\n`,
  );
  const values = new Map(
    all.flatMap(({ flags }) => flags).flatMap((flag) => (flag.values === undefined ? [] : [[flag.name, flag.values] as const])),
  );
  const valueCases = [...values].map(
    ([name, list]) => `    --${name}) COMPREPLY=($(compgen -W "${list.join(" ")}" -- "$cur")); return ;;\n`,
  );
  return `# bash completion for hubble
_hubble() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words
  case $prev in
${valueCases.join("")}  esac
  if [[ $COMP_CWORD == 1 ]]; then
    COMPREPLY=($(compgen -W "${all.map(({ name }) => name).join(" ")}" -- "$cur"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join("")}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _hubble hubble
`;
}

function fish(commands: readonly Command[]): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = ["# fish completion for hubble", "complete -c hubble -f"];
  for (const { path, help } of commands.filter((command) => command.path.length === 1)) {
    lines.push(`complete -c hubble -n __fish_use_subcommand -a ${path[0]} -d ${quote(help)}`);
  }
  for (const { name, arguments: words, flags } of wordsOf(commands)) {
    const seen = `-n '__fish_seen_subcommand_from ${name}'`;
    if (words.length > 0) lines.push(`complete -c hubble ${seen} -a ${quote(words.join(" "))}`);
    for (const flag of flags) {
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      const takes = flag.kind === "bool" ? "" : ` -x${flag.values === undefined ? "" : ` -a ${quote(flag.values.join(" "))}`}`;
      lines.push(`complete -c hubble ${seen} -l ${flag.name}${short}${takes} -d ${quote(flag.help)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
