// Every command that the documents show is run: here, or by the test of its page.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { cilium, type Outcome, root, run } from "./lab.ts";

/** Pages of which another test runs the commands: it names them. */
function pagesElsewhere(): ReadonlySet<string> {
  const tests = globSync(`${root}test/e2e/*.test.ts`).filter((file) => file !== import.meta.filename);
  const named = tests.flatMap((file) => [...readFileSync(file, "utf8").matchAll(/([\w-]+\.md)\b/g)].map(([, name = ""]) => name));
  return new Set(named.map((name) => `docs/howto/${name}`));
}

/** Its only block is a picture. */
const PICTURE = "ARCHITECTURE.md";

interface Step {
  /** As the page has it, without its comment. */
  readonly command: string;
  /** What is run instead: the same with what the reader fills in, or with less to wait for. */
  readonly instead?: string;
  /** 0 unless given. */
  readonly code?: number;
  readonly output?: RegExp;
  /** A policy is enforced a moment after kubectl has returned. */
  readonly retry?: true;
}

const ENV = 'eval "$(bin/cilium lab env)"';
const AGENT = "$(bin/cilium lab status -o json | jq '.nodes[1].agent.pid')";
const CURL_BACKEND = "kubectl -n attacker exec deploy/attacker -- curl -s -m 2 http://backend.demo/get";

/** One session at a shell, page by page; the lab that a page leaves is the next one's. */
const SESSION: readonly (readonly [page: string, steps: readonly Step[]])[] = [
  ["CONTRIBUTING.md", [{ command: "npm run setup" }]],
  [
    "docs/benchmarks.md",
    [
      { command: "npm run bench", instead: "npm run bench -- --list", output: /ns-per-packet/ },
      { command: "npm run bench -- ns-per-packet lab", instead: "npm run bench -- ns-per-packet lab --list", output: /ns-per-packet/ },
      { command: "npm run bench -- policy --json FILE", instead: "npm run bench -- policy --json /dev/null --list", output: /policy/ },
    ],
  ],
  ["docs/howto/use-the-lab.md", [{ command: "bin/cilium lab up", output: /Use it:/ }, { command: ENV }]],
  [
    "examples/policy-progression/README.md",
    [
      { command: ENV },
      { command: "kubectl apply -f examples/policy-progression/00-apps.yaml", output: /deployment.apps\/backend created/ },
      { command: "kubectl apply -f examples/policy-progression/01-default-deny.yaml", output: /default-deny created/ },
      // Not even the name is found; before the pod runs, there is nothing to ask.
      { command: "kubectl -n demo exec deploy/frontend -- curl -s -m 2 http://backend/get", code: 28, retry: true },
      {
        command: "hubble observe --verdict DROPPED --last 5 --explain",
        output: /demo\/frontend.*DROPPED[\s\S]*Policy: demo\/default-deny/,
      },
      { command: "kubectl apply -f examples/policy-progression", output: /deny-backend-to-world created/ },
    ],
  ],
  [
    "docs/howto/use-the-lab.md",
    [
      { command: "bin/cilium lab status", output: /Lab: +ready[\s\S]*cilia-worker2 +worker +Ready/ },
      { command: "bin/cilium lab demo", output: /every cell as expected/ },
      { command: "bin/cilium lab status -o json | jq '.nodes[] | {name, pid, agent, proxy}'", output: /"agent": \{\n +"pid": \d+/ },
      {
        command: "bin/cilium lab shell cilia-worker",
        instead: "bin/cilium lab shell cilia-worker -- sh -c 'hostname; curl -sk -o /dev/null -w %{http_code} https://10.96.0.1/livez'",
        output: /^cilia-worker\n200$/,
        retry: true,
      },
      { command: "kill -9 AGENT_PID", instead: `kill -9 ${AGENT}` },
      { command: "kubectl -n kube-system logs ds/cilium", output: /\S/ },
      { command: "tail /var/lib/cilia-lab/lab.log" },
    ],
  ],
  [
    "README.md",
    [
      { command: "npm start", instead: "scripts/start", output: /every cell as expected/ },
      { command: "npm test", instead: "npm test -- --help", code: 2 },
      { command: ENV },
      { command: "kubectl get nodes,pods -A", output: /cilia-worker2.*Ready[\s\S]*coredns/ },
      { command: "cilium status", output: /Cilium: +OK/, retry: true },
      { command: "cilium endpoint list", output: /k8s:app=backend/ },
      { command: CURL_BACKEND, code: 28, retry: true },
      { command: "hubble observe --verdict DROPPED --last 5 --explain", output: /attacker[\s\S]*DROPPED[\s\S]*Policy: demo\// },
      {
        command: "cilium policy explain --from attacker/attacker --to demo/backend --port 80",
        code: 1,
        output: /DENIED[\s\S]*apply this \(tried/,
      },
      { command: "kubectl apply -f examples/tour/allow-attacker.yaml", output: /allow-attacker created/ },
      { command: CURL_BACKEND, output: /"url"/, retry: true },
      { command: "kubectl delete -f examples/tour/allow-attacker.yaml", output: /deleted/ },
      { command: "cilium policy validate examples/tour/allow-attacker.yaml", output: /valid/ },
      { command: "cilium policy lint --policies examples/policy-tools/after --pods examples/policy-tools/shop.yaml", output: /L03/ },
      {
        command: "cilium policy diff examples/policy-tools/before examples/policy-tools/after --pods examples/policy-tools/shop.yaml",
        code: 1,
        output: /Newly denied/,
      },
      { command: "cilium lab down", output: /gone/ },
    ],
  ],
  ["docs/howto/use-the-lab.md", [{ command: "bin/cilium lab down", output: /no lab is running/ }]],
];

/** The commands of a page's blocks, without their comments. Blocks that name a language are no commands. */
function commandsOf(page: string): string[] {
  const parts = readFileSync(`${root}${page}`, "utf8").split(/^ *```(.*)\n/m);
  // Text, what follows the opening fence, block, what follows the closing one, text, …
  const blocks = parts.filter((_, index) => index % 4 === 2 && parts[index - 1] === "");
  const lines = blocks.flatMap((block) => block.split("\n"));
  return lines.map((line) => line.replace(/\s+#.*$/, "").trim()).filter((line) => line !== "");
}

const RETRIES = 20;

async function attempt({ command, instead = command, code = 0, output = /^/, retry }: Step): Promise<Outcome> {
  const once = () => run("bash", ["-c", `${ENV}; ${instead}`], { timeoutMs: 120_000 });
  let outcome = await once();
  for (let again = 0; retry && again < RETRIES && !(outcome.code === code && output.test(outcome.stdout)); again += 1)
    outcome = await once();
  return outcome;
}

describe("the documents", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
  before(() => cilium("lab", "down"));
  after(() => cilium("lab", "down"));

  it("show no command that no test runs", async () => {
    const { stdout } = await run("git", ["ls-files", "-co", "--exclude-standard", "*.md"]);
    const elsewhere = pagesElsewhere();
    for (const page of stdout.trim().split("\n")) {
      if (page === PICTURE || elsewhere.has(page)) continue;
      const tried = SESSION.filter(([name]) => name === page).flatMap(([, steps]) => steps.map(({ command }) => command));
      assert.deepEqual(commandsOf(page).toSorted(), tried.toSorted(), page);
    }
  });

  for (const [page, steps] of SESSION)
    for (const step of steps)
      it(`${page}: ${step.command}`, async () => {
        const { code, stdout, stderr } = await attempt(step);
        assert.equal(code, step.code ?? 0, `${stdout}${stderr}`);
        if (step.output) assert.match(stdout, step.output, stderr);
      });

  it("name npm's scripts, test layers and subcommands that there are", async () => {
    const { stdout } = await run("git", ["grep", "-ohE", "`(npm (run|test|start)|cilium|hubble|cilium-dbg) [^`]+`", "--", "*.md"]);
    const { scripts } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as { scripts: Record<string, string> };
    const layers = new Set([...readFileSync(`${root}test/run.ts`, "utf8").matchAll(/name: "(\w+)"/g)].map(([, name]) => name));
    const programs = new Set<string>();
    for (const text of new Set(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.slice(1, -1)),
    )) {
      const [program = "", ...words] = text.split(/\s+/);
      if (program !== "npm")
        programs.add([program, ...words.slice(0, words.findIndex((word) => !/^[a-z][a-z-]+$/.test(word)) >>> 0)].join(" "));
      else if (words[0] === "run") assert.ok(scripts[words[1] ?? ""], text);
      else for (const layer of words.slice(2)) assert.ok(words[0] !== "test" || layers.has(layer), text);
    }
    for (const words of programs) {
      const { code, stdout: help } = await run("bash", ["-c", `bin/${words} --help`]);
      assert.equal(code, 0, words);
      assert.ok(help.includes(words), `${words}: ${help.split("\n", 1)[0]}`);
    }
  });
});
