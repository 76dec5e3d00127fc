import type { Command } from "commander";
import { CodedError } from "#runtime/errors.ts";

/** A shell that no completion is written for. */
export class CompletionError extends CodedError {}

interface Words {
  /** `policy explain`; empty for the program itself. */
  readonly path: string;
  readonly words: readonly string[];
}

/** A script for bash, zsh or fish that completes the program's commands and flags. Throws `CompletionError` for another shell. */
export function completionScript(program: Command, shell: string): string {
  const name = program.name();
  const all = wordsOf(program, []);
  if (shell === "bash") return bash(name, all);
  if (shell === "zsh") return `#compdef ${name}\nautoload -U +X bashcompinit && bashcompinit\n${bash(name, all)}`;
  if (shell === "fish") return fish(name, all);
  throw new CompletionError("bad-shell", `completion: found "${shell}", allowed are bash, zsh and fish`);
}

/** Each command with what may come after it: its commands and its own flags. */
function wordsOf(command: Command, path: readonly string[]): Words[] {
  const flags = command.options.filter(({ hidden }) => !hidden).flatMap(({ long }) => long ?? []);
  const own = { path: path.join(" "), words: [...command.commands.map((one) => one.name()), ...flags, "--help"] };
  return [own, ...command.commands.flatMap((one) => wordsOf(one, [...path, one.name()]))];
}

/** The longest known path in what was typed decides; flags before and between are passed over. */
function bash(name: string, all: readonly Words[]): string {
  const cases = all.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;\n`).join("");
  const known = all.map(({ path }) => `"${path}"`).join("|");
  return `# bash completion for ${name}
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path="" word next words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in ${known}) path=$next ;; esac
  done
  case "$path" in
${cases}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ \${#COMPREPLY[@]} == 0 ]] && COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _${name} ${name}
`;
}

function fish(name: string, all: readonly Words[]): string {
  const lines = all.flatMap(({ path, words }) => {
    const condition =
      path === ""
        ? "__fish_use_subcommand"
        : path
            .split(" ")
            .map((word) => `__fish_seen_subcommand_from ${word}`)
            .join("; and ");
    return words.map((word) => {
      const what = word.startsWith("--") ? `-l ${word.slice(2)}` : `-f -a ${word}`;
      return `complete -c ${name} -n '${condition}' ${what}`;
    });
  });
  return `# fish completion for ${name}\n${lines.join("\n")}\n`;
}
