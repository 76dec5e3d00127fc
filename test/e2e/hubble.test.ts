import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { cilium, root, run } from "./lab.ts";
import { type Ask, monitoringQueries, problemsOf } from "./promql.ts";

const CHROMIUM = "/usr/bin/chromium";
const ADDRESS = "http://localhost:12000";
/** A browser that neither leaves the machine nor needs one with a screen. */
const FLAGS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
const PROMETHEUS = "build/prometheus/usr/bin/prometheus";
const RULES = "examples/monitoring/hubble-alerts.yaml";
/** What the commands of docs/howto/observe.md must print, in their order. */
const OBSERVE = [
  /DROPPED/,
  /Policy: (demo\/|deny-backend-to-world)/,
  /attacker\/attacker.* DROPPED/,
  /^SOURCE +DESTINATION +PORT +VERDICT +FLOWS[\s\S]*demo\/frontend +demo\/backend +80\/TCP/,
  /"drop_reason":"POLICY_DENIED"/,
  /^\d+ flows in 2 s/,
  /demo\/backend +198\.51\.100\.10 +80\/TCP/,
  /^source,destination,port,flows,dropped\n/,
  /demo\/backend/,
  /^\w+ +\d+ \d\d:/,
  /http:\/\/localhost:12000/,
  /Connected .*Enabled/,
  /Connected Nodes: 3\/3/,
];
/** What people write in articles about Hubble, with the demo's pods: arguments of `hubble observe`, and what must come. */
const ARTICLES: readonly (readonly [string, RegExp])[] = [
  [
    "--namespace demo --verdict DROPPED",
    /<> demo\/backend-\S+ \(ID:\d+\) policy-verdict:none INGRESS DENIED \(TCP Flags: SYN\)\n.*Policy denied DROPPED/,
  ],
  ["--verdict DROPPED --pod demo/backend --explain", / DROPPED .*\n {2}Policy: demo\/[a-z-]+ \(ingress\)/],
  ["--verdict DROPPED --from-pod attacker/attacker --to-pod demo/backend", /attacker\/attacker-\S+ \(ID:\d+\) <> demo\/backend-\S+:80/],
  [
    "--verdict DROPPED --from-pod demo/backend --print-policy-names",
    / EGRESS DENIED BY deny-backend-to-world \(CiliumClusterwideNetworkPolicy\)/,
  ],
  ["--protocol http --verdict DROPPED", /http-request DROPPED \(HTTP\/1.1 POST http:\/\/backend\/post\)/],
  ["--http-status 403 -o jsonpb", /"http":\{.*"method":"POST"/],
  ["", /^(\w+ +\d+ [\d:.]+: \S+.* (->|<-|<>) .*\n){20,}$/],
  ["--namespace demo", /demo\/frontend-\S+:\d+ \(ID:\d+\) -> demo\/backend-\S+:80 \(ID:\d+\)/],
  ["--to-label app=backend --protocol tcp", /-> demo\/backend-\S+:80 .* FORWARDED/],
  ["--protocol http", /http-request FORWARDED \(HTTP\/1.1 GET http:\/\/backend\/get\)/],
  ["--protocol dns --namespace demo", /dns-request .*FORWARDED \(DNS Query backend.demo.svc.cluster.local. A\)/],
  ["--type l3/l4 --namespace demo", / FORWARDED \(TCP Flags: /],
  ["--namespace demo -o compact", /^\w+ +\d+ [\d:.]+: /],
  ["--namespace demo -o dict", /^ {2}TIMESTAMP: .*\n {5}SOURCE: .*\nDESTINATION: .*\n {7}TYPE: .*\n {4}VERDICT: .*\n {4}SUMMARY: /],
  ["--namespace demo -o json", /^\{"flow":\{"time":"/],
  ["--namespace demo -o table", /^TIMESTAMP +SOURCE +DESTINATION +TYPE +VERDICT +SUMMARY\n/],
  ["--from-pod attacker/attacker --to-fqdn api.stripe.com", /attacker\/attacker-\S+ \(ID:\d+\) -> api.stripe.com:80/],
];
/** How long an answer may take to be as wanted. */
const ANSWER_MS = 60_000;
const POLICY_FILE = "build/allow-this.yaml";

before(async () => {
  const { code, stdout, stderr } = await cilium("lab", "demo");
  assert.equal(code, 0, `${stdout}\n${stderr}`);
});
after(() => cilium("lab", "down"));

const inLab = (command: string, timeoutMs = 300_000) => run("bash", ["-c", `eval "$(bin/cilium lab env)"; ${command}`], { timeoutMs });

/** Asks until the answer is as wanted: the demo's pods go on talking, and what they say comes when it comes. */
async function answers(command: string, wanted: RegExp): Promise<void> {
  const end = performance.now() + ANSWER_MS;
  let answer = await inLab(command);
  while (!(answer.code === 0 && wanted.test(answer.stdout)) && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    answer = await inLab(command);
  }
  assert.equal(answer.code, 0, answer.stderr);
  assert.match(answer.stdout, wanted, `${wanted} is not in:\n${answer.stdout}\nstandard error:\n${answer.stderr}`);
}

// First: rings in memory go back for some minutes only.
describe("hubble observe, as it is written about", () => {
  before(async () => {
    const { stdout } = await inLab(
      "kubectl -n attacker exec deploy/attacker -- curl -s -m 20 -o /dev/null -w '%{http_code}' http://api.stripe.com",
    );
    assert.equal(stdout, "200");
  });

  for (const [args, wanted] of ARTICLES) {
    it(args || "without arguments", () => answers(`hubble observe ${args}`, wanted));
  }

  // Not any agent: on a node without pods there is nothing to see.
  it("in the agent's pod", () =>
    answers(
      "node=$(kubectl -n attacker get pods -o jsonpath='{.items[0].spec.nodeName}'); " +
        "agent=$(kubectl -n kube-system get pods -l k8s-app=cilium --field-selector spec.nodeName=$node -o name); " +
        "kubectl -n kube-system exec $agent -- hubble observe --last 1",
      /^\w+ +\d+ [\d:.]+: .* (->|<-|<>) /,
    ));
});

describe("the Hubble page", { skip: existsSync(CHROMIUM) ? false : "chromium is not installed" }, () => {
  let forward: ChildProcess | undefined;
  let browser: Browser | undefined;
  const failures: string[] = [];

  before(async () => {
    forward = spawn("bash", ["-c", 'eval "$(bin/cilium lab env)"; exec cilium hubble ui --port-forward 12000'], {
      cwd: root,
      stdio: "ignore",
    });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS.split(" ") });
    await serves();
  });
  after(async () => {
    await browser?.close();
    forward?.kill();
  });

  async function open(query: string): Promise<Page> {
    assert(browser);
    const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
    page.on("pageerror", (error) => failures.push(error.message));
    page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
    await page.goto(`${ADDRESS}/${query}`);
    return page;
  }

  it("shows who talks to whom, with ports, methods and paths", async () => {
    await using page = await open("?namespace=demo");
    const backend = page.locator(".card", { hasText: "backend" }).filter({ hasText: "80/TCP" }).filter({ hasText: "POST /post" });
    await backend.first().waitFor();
    for (const name of ["frontend", "attacker", "coredns", "198.51.100.10"])
      await page.locator(".card", { hasText: name }).first().waitFor();
    await page.locator("#connection", { hasText: /^live, \d+ flows/ }).waitFor();
    assert.match((await page.locator(".flows tbody tr").first().textContent()) ?? "", /\d\d:\d\d:\d\d\.\d{3}/);
  });

  it("a red edge, by keyboard, tells why, and its 'allow this' policy makes the request pass", async () => {
    await using page = await open("?namespace=demo&verdict=denied");
    const edge = page.locator(".edge.denied .touch[aria-label*='attacker/attacker → demo/backend']");
    await edge.waitFor({ state: "attached" });
    await edge.focus();
    await page.keyboard.press("Enter");
    const details = page.locator(".details");
    // The edge was denied in several steps of the demo, and the details tell of the newest denial, as soon as the page has it.
    await details.filter({ hasText: /default-deny[\s\S]*Nearest rules[\s\S]*needs app=frontend, has app=attacker/ }).waitFor();
    const policy = await details.locator("pre").textContent();
    const get = "kubectl -n attacker exec deploy/attacker -- curl -s -m 2 -o /dev/null -w '%{http_code}' http://backend.demo/get";
    assert.notEqual((await inLab(get)).stdout, "200", "it is denied before");
    const applied = await inLab(
      `printf '%s' "$POLICY" > ${POLICY_FILE}; kubectl apply -f ${POLICY_FILE}`.replace("$POLICY", escapeShell(policy ?? "")),
    );
    assert.equal(applied.code, 0, applied.stderr);
    assert.equal((await inLab(`until [ "$(${get})" = 200 ]; do sleep 0.2; done; echo passed`, 60_000)).stdout, "passed\n");
    await page.keyboard.press("Escape");
    await details.waitFor({ state: "detached" });
  });

  it("keeps what is looked at in the address, and finds by words", async () => {
    await using page = await open("?namespace=demo");
    await page.locator(".card").first().waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("POST");
    await page.waitForURL(`${ADDRESS}/?namespace=demo&q=POST`);
    await page.locator(".flows tbody tr", { hasText: "POST" }).first().waitFor();
    await page.locator(".flows tbody tr", { hasNotText: "POST" }).first().waitFor({ state: "detached" });
  });

  it("looks at a time in the past, and says when nothing is kept of it", async () => {
    await using page = await open("?since=1000000000000&until=1000000001000");
    await page.locator(".map .empty", { hasText: "Nothing is kept of this time." }).waitFor();
    await page.getByRole("button", { name: "Back to live" }).click();
    await page.locator(".card").first().waitFor();
  });

  it("lists the policies with whom they select and the hits of each rule, and shows their YAML, by keyboard", async () => {
    await using page = await open("?namespace=demo");
    await page.locator(".card").first().waitFor();
    await page.keyboard.press("2");
    const row = page.locator(".policies tbody tr", { hasText: "demo/allow-frontend-to-backend" });
    await row.filter({ hasText: /demo\/backendingress\[0\] [1-9]/ }).waitFor();
    await row.focus();
    await page.keyboard.press("Enter");
    await page.locator(".numbered div", { hasText: /^11 +- fromEndpoints:[1-9]\d* hits$/ }).waitFor();
    assert.equal(new URL(page.url()).searchParams.get("policy"), "CiliumNetworkPolicy/demo/allow-frontend-to-backend");
    await page.keyboard.press("Escape");
    await page.locator(".details").waitFor({ state: "detached" });
  });

  it("lints a policy as one writes it, and says what it would have done to recorded traffic", async () => {
    await using page = await open("?page=policies&policy=CiliumNetworkPolicy/demo/allow-frontend-to-backend");
    await page.getByRole("button", { name: "Edit a copy" }).click();
    const text = page.getByLabel("Policy as YAML");
    const allows = page.locator(".findings li", { hasText: /from .*demo\/frontend/ });
    await allows.waitFor();
    await text.fill((await text.inputValue()).replace("app: frontend", "app: frontent"));
    await page.locator(".problems .warning", { hasText: /line 11 .*did you mean "frontend"/ }).waitFor();
    await text.press("Control+Enter");
    await page.locator("[aria-label='What if'] li", { hasText: "demo/frontend → demo/backend 80/TCP" }).waitFor();
    await text.fill("kind: CiliumNetworkPolicy\nspec: [\n");
    await page.locator(".problems .error", { hasText: /line \d error YAML/ }).waitFor();
  });

  it("draws a policy, by mouse and by keyboard, and says what it allows", async () => {
    await using page = await open("?page=editor&namespace=demo");
    const text = page.getByLabel("Policy as YAML");
    const from = await page.getByRole("button", { name: "from demo/frontend", exact: true }).boundingBox();
    const to = await page.getByRole("button", { name: "to demo/backend", exact: true }).boundingBox();
    assert(from && to);
    await page.mouse.move(from.x + 20, from.y + 8);
    await page.mouse.down();
    await page.mouse.move(to.x + 20, to.y + 8);
    await page.mouse.up();
    await page.locator(".findings li", { hasText: "80/TCP from demo/frontend" }).waitFor();
    await page.getByLabel("Ports", { exact: true }).fill("443, 8000-8080");
    await page.getByRole("button", { name: "from demo/backend", exact: true }).press("Enter");
    await page.getByRole("button", { name: "to world", exact: true }).press("Enter");
    await page.locator(".findings strong", { hasText: "from demo/backend" }).waitFor();
    assert.match(
      await text.inputValue(),
      /fromEndpoints:[\s\S]*app: frontend[\s\S]*---\n[\s\S]*toEntities:\n {4}- world[\s\S]*endPort: 8080/,
    );
    await page.getByRole("button", { name: /^remove demo\/frontend to demo\/backend/ }).press("Enter");
    await page.locator(".findings li", { hasText: "80/TCP from demo/frontend" }).waitFor({ state: "detached" });
    await page.getByLabel("Ports", { exact: true }).fill("http");
    await page.getByRole("button", { name: "from demo/frontend", exact: true }).press("Enter");
    await page.getByRole("button", { name: "to demo/backend", exact: true }).press("Enter");
    await page.locator(".board .failure", { hasText: '"http" is no port' }).waitFor();
  });

  it("broke no rule of its own security policy, and threw nothing", () => assert.deepEqual(failures, []));
});

describe("the metrics", { skip: existsSync(`${root}${PROMETHEUS}`) ? false : "Debian's prometheus is not unpacked" }, () => {
  // The agents' pods are in their nodes' network, where a Prometheus of the cluster would reach them from.
  const inNode = (command: string) => inLab(`kubectl -n kube-system exec ds/cilium -- sh -c ${JSON.stringify(command)}`);
  const ask: Ask = async (paths) => {
    const urls = paths.map((path) => `'http://127.0.0.1:9090/api/v1/${path}'`).join(" ");
    const { stdout } = await inNode(`curl -s -m 20 -w '\\n' ${urls}`);
    const lines = stdout.split("\n");
    return paths.map((_, index) => (JSON.parse(lines[index] || "{}") as { data?: unknown }).data);
  };
  let server: ChildProcess | undefined;
  let directory: string;

  before(async () => {
    // Pods see the checkout, but have a /tmp of their own.
    directory = mkdtempSync(`${root}build/prometheus-`);
    const targets = (port: number) => [2, 3, 4].map((host) => `172.18.0.${host}:${port}`);
    const job = (name: string, port: number) => ({ job_name: name, static_configs: [{ targets: targets(port) }] });
    const config = {
      global: { scrape_interval: "5s", scrape_timeout: "5s" },
      scrape_configs: [job("cilium-agent", 9962), job("hubble", 9965)],
    };
    writeFileSync(join(directory, "prometheus.yaml"), JSON.stringify({ ...config, rule_files: [`${root}${RULES}`] }));
    const command = `${root}${PROMETHEUS} --config.file=${directory}/prometheus.yaml --storage.tsdb.path=/tmp/prometheus --web.listen-address=127.0.0.1:9090`;
    const script = `eval "$(bin/cilium lab env)"; exec kubectl -n kube-system exec ds/cilium -- ${command}`;
    server = spawn("bash", ["-c", script], { cwd: root, stdio: "ignore" });
  });
  after(() => {
    server?.kill();
    rmSync(directory, { recursive: true });
  });

  it("are scraped by Prometheus from every node", async () => {
    const up = async () => {
      const [answer] = await ask(["query?query=sum%28up%29"]);
      return (answer as { result?: { value?: [number, string] }[] } | undefined)?.result?.[0]?.value?.[1];
    };
    for (let attempt = 0; attempt < 240 && (await up()) !== "6"; attempt++) await new Promise((resolve) => setTimeout(resolve, 250));
    assert.equal(await up(), "6");
  });

  it("answer every question of our dashboards, and have the labels that those and the alerts ask for", async () => {
    const queries = monitoringQueries();
    assert(queries.length > 30, `${queries.length} queries`);
    let problems = ["not asked yet"];
    for (let attempt = 0; attempt < 120 && problems.length > 0; attempt++) {
      problems = await problemsOf(queries, ask);
      if (problems.length > 0) await new Promise((resolve) => setTimeout(resolve, 500));
    }
    assert.deepEqual(problems, []);
  });

  it("are what promtool takes our alerts for", async () => {
    for (const [what, file] of [
      ["check", RULES],
      ["test", RULES.replace(".yaml", "-test.yaml")],
    ] as const) {
      const { code, stdout, stderr } = await run(`build/prometheus/usr/bin/promtool`, [what, "rules", file]);
      assert.equal(code, 0, stdout + stderr);
    }
  });
});

describe("Services of one's own in front of the page and the relay", () => {
  before(() => inLab("kubectl apply -f examples/monitoring/hubble-node-ports.yaml"));
  after(() => inLab("kubectl delete -f examples/monitoring/hubble-node-ports.yaml"));

  it("show the page", () => answers("$WORLD_EXEC curl -s -m 5 -o /dev/null -w '%{http_code}' http://172.18.0.2:31080/", /^200$/));
  it("lead to the flows of all nodes", () =>
    answers("$WORLD_EXEC $PWD/bin/hubble status --server 172.18.0.3:31083", /Connected Nodes: 3\/3/));
});

describe("docs/howto/observe.md", () => {
  const page = readFileSync(`${root}docs/howto/observe.md`, "utf8");
  const commands = [...page.matchAll(/```\n([\s\S]*?)```/g)].flatMap(([, block = ""]) => block.split("\n").filter((line) => line !== ""));

  it("shows as many commands as are looked at here", () => assert.equal(commands.length, OBSERVE.length));

  for (const [index, command] of commands.entries()) {
    it(command, () => answers(command === "cilium hubble ui" ? untilItSpeaks(command) : command, OBSERVE[index] ?? /never/));
  }
});

/** What runs until it is interrupted, until it has said where it serves. */
function untilItSpeaks(command: string): string {
  return `${command} > build/spoken & until grep -q . build/spoken; do sleep 0.2; done; kill $!; cat build/spoken`;
}

async function serves(): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const answer = await fetch(ADDRESS).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${ADDRESS} does not answer`);
}

// In double quotes of a shell.
function escapeShell(text: string): string {
  return text.replaceAll(/[\\"$`]/g, "\\$&");
}
