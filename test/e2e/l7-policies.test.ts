import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, describe, it } from "node:test";
import { cilium, root } from "./lab.ts";

/** What the page's commands must print, in order, for those where it matters; all others must succeed. `retry`: policy takes a moment. */
const EXPECTED: readonly { readonly command: RegExp; readonly output: RegExp; readonly fails?: boolean; readonly retry?: boolean }[] = [
  { command: /-w .* http:\/\/web\/get$/, output: /^200$/ },
  { command: /http:\/\/web\/ip$/, output: /^Access denied/, retry: true },
  { command: /-X POST http:\/\/web\/anything$/, output: /^403$/ },
  { command: /X-Token: s3cret/, output: /^200$/ },
  {
    command: /hubble observe/,
    output: /Policy: shop\/web-http \(ingress\) rule 0[\s\S]*http rule 1: header X-Token: missing/,
    retry: true,
  },
  { command: /X-Role: admin/, output: /"x-role": "guest"/i },
  { command: /-k -o .*https:\/\/bank\.shop/, output: /^200$/, retry: true },
  { command: /https:\/\/bank\/$/, output: /^/, fails: true, retry: true },
  { command: /--cacert .*-w .*https:\/\/bank\.shop/, output: /^200$/, retry: true },
  { command: /--cacert .*\/secret$/, output: /^Access denied/ },
];
const MARK = "command ended with ";
const TRIES = 20;

/** The commands of all blocks of a page. */
function commandsOf(page: string): string[] {
  const blocks = [...readFileSync(`${root}${page}`, "utf8").matchAll(/```\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  return blocks.flatMap((block) => block.split("\n").filter((line) => line !== ""));
}

/** One shell for the whole page: later commands use what earlier ones set. */
function openShell(): { run(command: string): Promise<{ readonly code: number; readonly output: string }>; close(): void } {
  const child = spawn("bash", [], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  let text = "";
  let wake = () => {};
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    wake();
  });
  return {
    async run(command) {
      text = "";
      child.stdin.write(`${command} </dev/null 2>/dev/null\ncode=$?; echo; echo "${MARK}$code"\n`);
      const pattern = new RegExp(`\\n${MARK}(\\d+)\\n`);
      while (!pattern.test(text)) await new Promise<void>((resolve) => (wake = resolve));
      const [all = "", code] = pattern.exec(text) ?? [];
      return { code: Number(code), output: text.slice(0, text.indexOf(all)).trim() };
    },
    close: () => void child.stdin.end(),
  };
}

describe("docs/howto/l7-policies.md", () => {
  const shell = openShell();
  after(async () => {
    shell.close();
    await cilium("lab", "down");
  });

  it("does what it says, command by command", async () => {
    const expected = [...EXPECTED];
    for (const command of commandsOf("docs/howto/l7-policies.md")) {
      const wanted = expected[0]?.command.test(command) === true ? expected.shift() : undefined;
      const isGood = ({ code, output }: { code: number; output: string }) =>
        (code !== 0) === (wanted?.fails ?? false) && wanted?.output.test(output) !== false;
      let outcome = await shell.run(command);
      for (let again = 0; wanted?.retry === true && again < TRIES && !isGood(outcome); again += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        outcome = await shell.run(command);
      }
      assert.ok(isGood(outcome), `${command}: exit status ${outcome.code}\n${outcome.output}`);
    }
    assert.deepEqual(expected, [], "the page has all the commands of this table");
  });
});
