import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, it } from "node:test";
import { ERRNO } from "#sys/errno.ts";
import { KernelError } from "#sys/kernel-error.ts";
import { createScriptWorld } from "../../test/scripts/load-balancer.ts";

/**
 * Each script is lines `> command`, what each prints, and the files they name. `UPDATE_SCRIPTS=1` writes what was printed into the scripts.
 */
interface Script {
  readonly steps: { readonly comment: string; readonly line: string; readonly expected: string }[];
  readonly files: ReadonlyMap<string, string>;
  readonly tail: string;
}

const DIRECTORY = new URL("../../test/scripts/loadbalancer/", import.meta.url);

function readScript(text: string): Script {
  const start = text.search(/^-- \S+ --$/m);
  const [head, tail] = start < 0 ? [text, ""] : [text.slice(0, start), text.slice(start)];
  const parts = tail.split(/^-- (\S+) --\n/m).slice(1);
  const files = new Map<string, string>();
  for (let i = 0; i < parts.length; i += 2) files.set(parts[i] ?? "", parts[i + 1] ?? "");
  const steps: Script["steps"] = [];
  let comment = "";
  for (const line of head.split("\n")) {
    const last = steps.at(-1);
    if (line.startsWith("#")) comment += `${line}\n`;
    else if (line.startsWith("> ")) {
      steps.push({ comment, line: line.slice(2), expected: "" });
      comment = "";
    } else if (last && line !== "") steps[steps.length - 1] = { ...last, expected: `${last.expected}${line}\n` };
  }
  return { steps, files, tail };
}

/** Fails one of ten operations on maps, always the same ones. */
function oneOfTen(): (operation: string, about: string) => void {
  let state = 1;
  return (operation, about) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    if ((state >>> 16) % 10 === 0) throw new KernelError(`bpf ${operation}`, ERRNO.ENOMEM, about);
  };
}

async function run(script: Script, fail: (operation: string, about: string) => void): Promise<Script["steps"]> {
  await using world = createScriptWorld(script.files, fail);
  const steps: Script["steps"] = [];
  for (const step of script.steps) {
    const printed = (await world.run(step.line))
      .split("\n")
      .map((line) => line.trimEnd())
      .filter((line) => line !== "");
    steps.push({ ...step, expected: printed.map((line) => `${line}\n`).join("") });
  }
  return steps;
}

describe("load balancer scripts", () => {
  for (const path of globSync("*.txt", { cwd: DIRECTORY }).sort()) {
    const file = new URL(path, DIRECTORY);
    it(basename(path, ".txt"), async () => {
      const script = readScript(readFileSync(file, "utf8"));
      const steps = await run(script, () => {});
      if (process.env.UPDATE_SCRIPTS) {
        const text = steps.map(({ comment, line, expected }) => `${comment}> ${line}\n${expected}`).join("\n");
        writeFileSync(file, `${text}\n${script.tail}`);
        return;
      }
      assert.deepEqual(steps, script.steps);
    });
    it(`${basename(path, ".txt")}, one of ten writes fails`, { skip: Boolean(process.env.UPDATE_SCRIPTS) }, async () => {
      const script = readScript(readFileSync(file, "utf8"));
      assert.deepEqual(await run(script, oneOfTen()), script.steps);
    });
  }
});
