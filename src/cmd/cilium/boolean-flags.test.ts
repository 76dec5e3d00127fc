import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Command } from "commander";
import { withPlainBooleans } from "./boolean-flags.ts";

const program = new Command().option("--wait").option("--output <format>");
program.command("exec").option("--quiet");

describe("boolean flags", () => {
  for (const [given, wanted] of [
    ["--wait=true status", "--wait status"],
    ["status --wait=false", "status"],
    ["exec --quiet=true", "exec --quiet"],
    ["--output=true", "--output=true"],
    ["--nonsense=true", "--nonsense=true"],
    ["exec -- prog --wait=false", "exec -- prog --wait=false"],
  ] as const) {
    it(given, () => assert.deepEqual(withPlainBooleans(given.split(" "), program), wanted.split(" ")));
  }
});
