import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { cilium, type Lab, root, run, startLab } from "./lab.ts";

interface Step {
  readonly command: RegExp;
  readonly code?: number;
  readonly output?: RegExp;
  /** What takes a moment to be seen is tried again. */
  readonly retry?: true;
}

/** What each command of docs/howto/policies-from-traffic.md must do. A command that is not listed fails the test. */
const STEPS: readonly Step[] = [
  { command: /^eval / },
  { command: /^kubectl apply -f examples\/christmas\/apps.yaml$/, output: /redis created/ },
  { command: /^kubectl -n production wait/, output: /postgres-\S+ condition met/ },
  { command: /^kubectl -n production exec deploy\/backend -- nc/, retry: true },
  { command: /^kubectl -n production exec deploy\/backend -- curl/, retry: true },
  { command: /^kubectl -n production exec deploy\/redis -- nc/, retry: true },
  {
    command: /^cilium policy what-if .* --since 1h$/,
    code: 1,
    output: /Newly denied:\n +production\/redis +→ +production\/postgres +5432\/TCP/,
    retry: true,
  },
  { command: /^hubble observe .*flows.json$/ },
  { command: /^cilium policy what-if .* --flows/, code: 1, output: /production\/redis +→ +production\/postgres[\s\S]*1 would break/ },
  { command: /^kubectl annotate --local/, output: /database-security created/ },
  { command: /^kubectl -n production exec deploy\/redis -- nc/ },
  { command: /^hubble observe --verdict AUDIT/, output: /production\/redis\S+ .*-> production\/postgres\S+:5432 .*AUDITED/, retry: true },
  {
    command: /^cilium policy usage production\/database-security$/,
    output: /default deny .*audit: [1-9]\d* packets would be denied/,
    retry: true,
  },
  {
    command: /^cilium policy promote .*--dry-run$/,
    code: 1,
    output: /stays in audit mode; it would have denied[\s\S]*ingress default deny: [1-9]/,
  },
  { command: /^cilium policy learn --namespace production/ },
  { command: /^kubectl apply -f \/tmp\/learned.yaml$/, output: /learned-redis created/ },
  { command: /^cilium policy promote production\/database-security$/, output: /is enforced now/ },
  { command: /^kubectl -n production exec deploy\/backend -- nc/, retry: true },
  { command: /^kubectl -n production exec deploy\/redis -- nc/, retry: true },
  { command: /^kubectl -n production exec deploy\/backend -- curl/, retry: true },
  { command: /^kubectl -n production exec deploy\/redis -- curl/, code: 6 },
  { command: /^cilium policy usage production\/database-security$/, output: /cnp\/production\/database-security/ },
  { command: /^cilium policy usage --unused-for 30d$/, output: /has had a hit/ },
  { command: /^kubectl get cnp -n production$/, output: /database-security +\S+ +True +1 +\d+/, retry: true },
];

function commandsOf(file: string): string[] {
  const text = readFileSync(`${root}${file}`, "utf8");
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, language]) => language === "");
  return blocks.flatMap(([, , block = ""]) =>
    block
      .split("\n")
      .map((line) => line.replace(/\s{2,}#.*$/, "").trim())
      .filter((line) => line !== ""),
  );
}

const sh = (command: string) => run("bash", ["-c", `eval "$(bin/cilium lab env)"; ${command}`], { timeoutMs: 120_000 });

/** Runs the command until it does what it must, a minute at the most when it may be tried again. */
async function must(command: string, { code = 0, output = /^/, retry }: Omit<Step, "command">): Promise<string> {
  const isRight = (outcome: { code: number; stdout: string }) => outcome.code === code && output.test(outcome.stdout);
  let outcome = await sh(command);
  for (const end = Date.now() + 60_000; retry && !isRight(outcome) && Date.now() < end; ) outcome = await sh(command);
  assert.equal(outcome.code, code, `${command}: ${outcome.stdout}${outcome.stderr}`);
  assert.match(outcome.stdout, output, `${command}: ${outcome.stderr}`);
  return outcome.stdout;
}

interface UsageRow {
  readonly name: string;
  readonly section: string;
  readonly packets: number;
  readonly requests: { readonly allowed: number; readonly denied: number };
}

describe("policies and their traffic", () => {
  let lab: Lab;
  before(async () => {
    lab = await startLab();
  });
  after(() => lab?.[Symbol.asyncDispose]());

  it("docs/howto/policies-from-traffic.md does what it says, command by command", async () => {
    const commands = commandsOf("docs/howto/policies-from-traffic.md");
    assert.equal(commands.length, STEPS.length, "the page and this table have the same commands");
    for (const [index, command] of commands.entries()) {
      const step = STEPS[index] ?? assert.fail();
      assert.match(command, step.command);
      await must(command, step);
    }
    const learned = readFileSync("/tmp/learned.yaml", "utf8");
    assert.match(learned, /The proof holds/);
    assert.match(learned, /toFQDNs:\n +- matchName: api.stripe.com/);
    assert.doesNotMatch(learned, /pod-template-hash|10\.244\./);
  });

  it("audit mode of HTTP rules: every request passes, what they would refuse is reported, and promoting ends that", async () => {
    const demo = `${root}examples/policy-progression`;
    const post = "kubectl -n demo exec deploy/frontend -- curl -s -m 2 -o /dev/null -w '%{http_code}' -X POST http://backend/headers";
    await must(`kubectl apply -f ${demo}/00-apps.yaml && kubectl -n demo wait --for=condition=Ready pod --all --timeout=120s`, {});
    const policy = `${demo}/04-allow-frontend-to-backend-l7.yaml`;
    await must(`kubectl annotate --local -f ${policy} policy.cilium.io/audit-mode=enabled -o yaml | kubectl apply -f -`, {});
    const reported = (what: string) => `hubble observe --namespace demo --verdict AUDIT --last 100 --explain | grep -A 3 '${what}'`;
    // A policy takes a moment to get to the node.
    const asked = (command: string, what: string) => `${command} && ${reported(what)}`;
    await must(asked(post, "POST http://backend/headers"), {
      output: /^200[\s\S]*http-request AUDIT[\s\S]*no HTTP rule of these policies allows the request/,
      retry: true,
    });
    // What is no HTTP passes too, and gets the answer of the server itself: the proxy's has a length.
    const other = "kubectl -n demo exec deploy/frontend -- sh -c 'echo =no http= | nc -w 2 backend 80'";
    const answered = /^HTTP\/1.1 400 Bad Request\s+Connection: close\s[\s\S]*http-request AUDIT[\s\S]*not HTTP/;
    await must(asked(other, "not HTTP"), { output: answered, retry: true });
    await must("cilium policy promote demo/allow-frontend-to-backend --dry-run", {
      code: 1,
      output: /ingress\[0\]: [1-9]\d* requests?/,
      retry: true,
    });
    await must("cilium policy promote demo/allow-frontend-to-backend", { output: /is enforced now/ });
    await must(post, { output: /^403$/, retry: true });
    await must("kubectl -n demo delete cnp --all", {});
  });

  it("promoting does not claim to enforce what the namespace keeps in audit mode, and names the command that ends that", async () => {
    const demo = `${root}examples/policy-progression`;
    const annotation = "policy.cilium.io/audit-mode";
    await must(`kubectl apply -f ${demo}/00-apps.yaml && kubectl -n demo wait --for=condition=Ready pod --all --timeout=120s`, {});
    await must(`kubectl annotate namespace demo ${annotation}=enabled`, {});
    await must(`kubectl annotate --local -f ${demo}/01-default-deny.yaml ${annotation}=enabled -o yaml | kubectl apply -f -`, {});
    const promoted = await must("cilium policy promote demo/default-deny", { code: 1, output: /still not enforced everywhere/ });
    const [, command = ""] = /namespace demo is in audit mode; this ends it: (kubectl .*)/.exec(promoted) ?? [];
    assert.equal(command, `kubectl annotate namespace demo ${annotation}-`, promoted);
    const again = await sh("cilium policy promote demo/default-deny");
    assert.equal(again.code, 2);
    assert.match(again.stderr, /has no audit annotation of its own[\s\S]*namespace demo; this ends it: kubectl annotate namespace demo/);
    await must(command, {});
    const enforced = await sh("cilium policy promote demo/default-deny");
    assert.match(enforced.stderr, /is not in audit mode: it is enforced already/);
    await must("kubectl -n demo delete cnp --all", {});
  });

  it("usage says which rule decides in the stead of a wider one, and that lint calls the narrow one redundant", async () => {
    const rules = (name: string, rule: string) =>
      `{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: ${name}, namespace: demo}, spec: {endpointSelector: {matchLabels: {app: backend}}, ingress: [${rule}]}}`;
    const narrow = rules("narrow", '{fromEndpoints: [{matchLabels: {app: frontend}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}');
    await must(`printf '%s\n---\n%s\n' '${narrow}' '${rules("wide", "{fromEndpoints: [{}]}")}' | kubectl apply -f -`, {});
    await must("cilium policy usage demo/wide demo/narrow", {
      output:
        /cnp\/demo\/narrow [\s\S]*decides what cnp\/demo\/wide ingress\[0\] would decide without it; lint L10 says it can go[\s\S]*where narrower, cnp\/demo\/narrow ingress\[0\] decides and counts in its stead/,
      retry: true,
    });
    await must("kubectl -n demo delete cnp --all", {});
  });

  it("learns requests by method and path: what was asked goes on, the rest is refused", async () => {
    const demo = `${root}examples/policy-progression`;
    const get = (path: string, more = "") =>
      `kubectl -n demo exec deploy/frontend -- curl -s -m 2 -o /dev/null -w '%{http_code}' ${more} http://backend${path}`;
    await must(`kubectl apply -f ${demo}/00-apps.yaml && kubectl -n demo wait --for=condition=Ready pod --all --timeout=120s`, {});
    // Requests are recorded where an HTTP rule makes the proxy look.
    const [dns, l7] = [`${demo}/02-allow-dns.yaml`, `${demo}/04-allow-frontend-to-backend-l7.yaml`];
    await must(`kubectl apply -f ${dns} -f ${demo}/03-allow-frontend-to-backend.yaml -f ${l7}`, {});
    await must(get("/get?id=7"), { output: /^200$/, retry: true });
    await must(get("/headers"), { output: /^200$/ });
    const asked = "cilium policy learn --namespace demo -o yaml > /tmp/demo.yaml; cat /tmp/demo.yaml";
    await must(asked, { output: /The proof holds[\s\S]*path: \/get\(\\+\?\.\*\)\?[\s\S]*path: \/headers/, retry: true });
    await must("kubectl delete cnp -n demo --all && kubectl apply -f /tmp/demo.yaml", { output: /learned-backend created/ });
    await must(get("/get?id=8"), { output: /^200$/, retry: true });
    await must(get("/headers"), { output: /^200$/ });
    await must(get("/ip"), { output: /^403$/, retry: true });
    await must(get("/get", "-X POST"), { output: /^403$/ });
    await must("kubectl -n attacker exec deploy/attacker -- curl -s -m 2 http://backend.demo/get", { code: 28, output: /^$/ });
  });

  it("counts requests for the rules that judged them, and keeps all counts when agents are killed", async () => {
    const usage = async (policy: string) => {
      const rows = JSON.parse(await must(`cilium policy usage ${policy} -o json`, { retry: true })) as UsageRow[];
      return rows.filter(({ section }) => section === "ingress");
    };
    const [backend] = await usage("demo/learned-backend");
    assert.ok(backend && backend.requests.allowed >= 2 && backend.requests.denied >= 2, JSON.stringify(backend));
    // Nobody talks to the database unless we do.
    const packets = async () => (await usage("production/learned-postgres")).reduce((sum, row) => sum + row.packets, 0);
    const before_ = await packets();
    assert.ok(before_ > 0);
    const { nodes } = JSON.parse((await cilium("lab", "status", "-o", "json")).stdout) as { nodes: { agent?: { pid?: number } }[] };
    for (const { agent } of nodes) if (agent?.pid) process.kill(agent.pid, "SIGKILL");
    await must("cilium status", { output: /Cilium: +OK/, retry: true });
    assert.equal(await packets(), before_);
    const [again] = await usage("demo/learned-backend");
    assert.ok(again && again.requests.denied >= backend.requests.denied, JSON.stringify(again));
    await must("kubectl -n production exec deploy/backend -- nc -zv -w 2 postgres 5432", { retry: true });
    assert.ok((await packets()) > before_);
  });
});
