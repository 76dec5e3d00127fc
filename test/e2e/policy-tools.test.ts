import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { cilium, root, run } from "./lab.ts";

const pages = ["policy-explain.md", "policy-lint.md", "policy-diff.md"];

/** What the commands of the pages must do, in their order: exit code and output. A command that is not listed fails the test. */
const EXPECTED: readonly { readonly command: RegExp; readonly code: number; readonly output: RegExp }[] = [
  {
    command: /explain --from attacker\/attacker .*--port 80$/,
    code: 1,
    output:
      /DENIED[\s\S]*denied by[\s\S]*demo\/default-deny[\s\S]*near miss: demo\/allow-frontend-to-backend[\s\S]*needs app=frontend, has app=attacker[\s\S]*apply this \(tried/,
  },
  { command: /patch\.yaml.* \| kubectl apply -f -$/, code: 0, output: /allow-attacker-to-backend created/ },
  { command: /delete cnp allow-attacker-to-backend/, code: 0, output: /deleted/ },
  { command: /explain --policies .*--method POST/, code: 1, output: /403[\s\S]*method needs GET, is POST[\s\S]*method: POST/ },
  { command: /validate examples\/policy-tools$/, code: 0, output: /shop\/database: valid/ },
  { command: /lint --policies .*after/, code: 0, output: /after\/api\.yaml:8:7: warning L03[\s\S]*L11[\s\S]*L13[\s\S]*L19/ },
  { command: /lint --policies .*before.*--fail-on warning/, code: 0, output: /0 errors, 0 warnings/ },
  { command: /policy lint$/, code: 0, output: /\d policies: 0 errors/ },
  { command: /diff .*before .*after/, code: 1, output: /Newly denied\n {2}shop\/api → shop\/postgres: 5432\/TCP[\s\S]*Newly allowed/ },
  { command: /diff cluster examples\/policy-progression$/, code: 0, output: /^No difference/ },
  { command: /policy matrix$/, code: 0, output: /demo\/frontend +.*demo\/backend[\s\S]*pairs may talk/ },
  { command: /matrix .*--only shop\/api/, code: 0, output: /shop\/web +shop\/api +8080\/TCP \(HTTP GET \/v1\/\.\*\)/ },
  { command: /matrix -o html/, code: 0, output: /^$/ },
];

/** The commands of a page: what stands in its blocks without a language. */
function commandsOf(page: string): string[] {
  const text = readFileSync(`${root}docs/howto/${page}`, "utf8");
  const blocks = text.split(/^```/m).filter((_, i) => i % 2 === 1);
  return blocks.filter((block) => block.startsWith("\n")).flatMap((block) => block.trim().split("\n"));
}

const inLab = (command: string) => run("bash", ["-c", `eval "$(bin/cilium lab env)"; ${command}`], { timeoutMs: 120_000 });
const probe = "kubectl -n attacker exec deploy/attacker -- curl -s -o /dev/null -m 2 http://backend.demo/get";

/** Runs a probe until it ends as wanted: a policy is enforced a moment after kubectl has returned. */
async function probed(wanted: number): Promise<number> {
  let code = -1;
  for (const until = Date.now() + 60_000; code !== wanted && Date.now() < until; ) ({ code } = await inLab(probe));
  return code;
}

describe("the policy tools on a live cluster", () => {
  before(async () => {
    const { code, stdout, stderr } = await cilium("lab", "demo");
    assert.equal(code, 0, `${stdout}\n${stderr}`);
  });
  after(async () => {
    rmSync(`${root}matrix.html`, { force: true });
    await cilium("lab", "down");
  });

  it("print a patch for a denial that lets the same probe pass once it is applied", async () => {
    assert.equal(await probed(28), 28);
    const { code, stdout } = await inLab("cilium policy explain --from attacker/attacker --to demo/backend --port 80 -o json");
    assert.equal(code, 1);
    const { connections } = JSON.parse(stdout) as { connections: { patch: { yaml: string } }[] };
    const patch = connections[0]?.patch.yaml ?? "";
    assert.equal((await inLab(`kubectl apply -f - << 'EOF'\n${patch}EOF`)).code, 0);
    assert.equal(await probed(0), 0);
    const allowed = await inLab(
      "cilium policy explain --from attacker/attacker --to demo/backend --port 80 -o 'jsonpath={.connections[0].verdict}'",
    );
    assert.deepEqual([allowed.code, allowed.stdout.trim()], [0, "allowed"]);
    assert.equal((await inLab(`kubectl delete -f - << 'EOF'\n${patch}EOF`)).code, 0);
    assert.equal(await probed(28), 28);
  });

  it("give a fix beside a drop in Hubble that is a command to run", async () => {
    assert.equal(await probed(28), 28);
    const { stdout } = await inLab("hubble observe --verdict DROPPED --from-pod attacker/ --last 3 --explain");
    const [, fix = ""] = /fix: (kubectl create .*)/.exec(stdout) ?? [];
    assert.match(fix, /"name":"allow-attacker-to-backend"/, stdout);
    assert.equal((await inLab(fix)).code, 0);
    assert.equal(await probed(0), 0);
    assert.equal((await inLab("kubectl -n demo delete cnp allow-attacker-to-backend")).code, 0);
    assert.equal(await probed(28), 28);
  });

  it("do what their pages show, command by command", async () => {
    const commands = pages.flatMap(commandsOf);
    assert.equal(commands.length, EXPECTED.length, "the pages and this table have the same commands");
    for (const [index, command] of commands.entries()) {
      const expected = EXPECTED[index];
      assert.ok(expected);
      assert.match(command, expected.command);
      const { code, stdout, stderr } = await inLab(command);
      assert.equal(code, expected.code, `${command}: ${stdout}${stderr}`);
      assert.match(stdout, expected.output, command);
    }
    const page = readFileSync(`${root}matrix.html`, "utf8");
    assert.match(page, /<svg [\s\S]*demo\/frontend → demo\/backend/);
  });
});
