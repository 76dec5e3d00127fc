import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { cilium, root, run } from "./lab.ts";

/** What each command of the README's tour must do: exit code and output. A command that is not listed fails the test. */
const TOUR: readonly { readonly command: RegExp; readonly code: number; readonly output: RegExp; readonly retry?: boolean }[] = [
  { command: /^eval "\$\(bin\/cilium lab env\)"$/, code: 0, output: /^$/ },
  { command: /^kubectl get nodes,pods -A$/, code: 0, output: /cilia-worker2.*Ready[\s\S]*coredns/ },
  { command: /^cilium status$/, code: 0, output: /Cilium: +OK/ },
  { command: /^cilium endpoint list$/, code: 0, output: /k8s:app=backend/ },
  { command: /^kubectl -n attacker exec .*curl/, code: 28, output: /^/, retry: true },
  { command: /^hubble observe --verdict DROPPED/, code: 0, output: /attacker[\s\S]*DROPPED[\s\S]*Policy: demo\// },
  { command: /^cilium policy explain/, code: 1, output: /DENIED[\s\S]*apply this \(tried/ },
  { command: /^kubectl apply -f examples\/tour/, code: 0, output: /allow-attacker created/ },
  { command: /^kubectl -n attacker exec .*curl/, code: 0, output: /"url"/, retry: true },
  { command: /^kubectl delete -f examples\/tour/, code: 0, output: /deleted/ },
  { command: /^cilium policy validate/, code: 0, output: /valid/ },
  { command: /^cilium policy lint/, code: 0, output: /L03/ },
  { command: /^cilium policy diff/, code: 1, output: /Newly denied/ },
  { command: /^cilium lab down$/, code: 0, output: /gone/ },
];

/** The commands of the blocks under a heading, without their comments. */
function commandsUnder(heading: string): string[] {
  const text = readFileSync(`${root}README.md`, "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  const blocks = [...section.matchAll(/```\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  return blocks.flatMap((block) =>
    block
      .split("\n")
      .map((line) => line.replace(/\s+#.*$/, "").trim())
      .filter((line) => line !== ""),
  );
}

describe("the README's tour", () => {
  before(async () => {
    const { code, stdout, stderr } = await cilium("lab", "demo");
    assert.equal(code, 0, `${stdout}\n${stderr}`);
  });
  after(() => cilium("lab", "down"));

  it("does what it says, command by command", async () => {
    const commands = commandsUnder("Five minutes");
    assert.equal(commands.length, TOUR.length, "the README and this table have the same commands");
    for (const [index, command] of commands.entries()) {
      const expected = TOUR[index];
      assert.ok(expected);
      assert.match(command, expected.command);
      const attempt = () => run("bash", ["-c", `eval "$(bin/cilium lab env)"; ${command}`], { timeoutMs: 60_000 });
      let outcome = await attempt();
      // A policy is enforced a moment after kubectl has returned.
      for (let again = 0; expected.retry && again < 10 && outcome.code !== expected.code; again += 1) outcome = await attempt();
      assert.equal(outcome.code, expected.code, `${command}: ${outcome.stdout}${outcome.stderr}`);
      assert.match(outcome.stdout, expected.output, command);
    }
  });
});
