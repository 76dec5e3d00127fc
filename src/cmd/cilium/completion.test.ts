import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { completionScript } from "./completion.ts";
import { addNodeCommands, createProgram } from "./program.ts";

function program() {
  const made = createProgram("cilium", "test");
  addNodeCommands(made, "cilium", () => new AbortController().signal);
  return made;
}

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const typed = ["cilium", ...words].map((word) => `'${word}'`).join(" ");
  const script = `${completionScript(program(), "bash")}\nCOMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _cilium; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
}

describe("completionScript", () => {
  it("completes commands and their flags, past flags that stand between", () => {
    assert.deepEqual(offered("pol"), ["policy"]);
    assert.deepEqual(offered("policy", "exp").sort(), ["explain", "export"]);
    assert.deepEqual(offered("--node", "n1", "policy", "explain", "--fr"), ["--from"]);
    assert.ok(offered("policy", "lint", "--").includes("--fail-on"));
  });

  it("writes zsh and fish too, and refuses other shells", () => {
    assert.match(completionScript(program(), "zsh"), /^#compdef cilium/);
    assert.match(completionScript(program(), "fish"), /seen_subcommand_from policy; and __fish_seen_subcommand_from explain' -l from/);
    assert.throws(() => completionScript(program(), "csh"), /allowed are bash, zsh and fish/);
  });
});
