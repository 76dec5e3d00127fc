import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { cilium, type Lab, type Outcome, root, run, startLab } from "./lab.ts";

const MANIFEST = `${root}examples/dns-policies/dns.yaml`;
const BY_NAME = `${root}test/e2e/manifests/rules-by-name.yaml`;
/** Kafka's question for the metadata of the topic `secrets`, as `printf` takes it, and the words in a denial of it. */
const KAFKA_QUESTION = String.raw`\0\0\0\x18\0\x03\0\0\0\0\0\x07\0\x01c\0\0\0\x01\0\x07secrets`;
const KAFKA_DENIAL = /001d00077365637265747300000000/;
const PAGE = `${root}docs/howto/dns-policies.md`;
/** What the page's commands print, for those where it matters. */
const PRINTED: readonly (readonly [command: RegExp, output: RegExp])[] = [
  [/\+short api\.stripe\.com$/, /^198\.51\.100\./],
  [/dig api\.paypal/, /REFUSED/],
  [/hubble observe/, /Policy: names\/stripe \(egress\) rule 0[\s\S]*name "api\.paypal\.com\." does not match "\*\.stripe\.com"/],
  [/cache list/, /names\/client/],
];
const PROBE = `${root}test/e2e/dns-probe.ts`;
const NODES = 3;
const RATE = 1000;
/** Requests one after another, each on a connection of its own: some seconds. */
const REQUESTS = 200;
const DEADLINE_MS = 60_000;
/** After which a resolver asks again (resolv.conf(5), `timeout`). */
const RETRY_MS = 5000;

/** What `dns-probe.ts` prints. */
interface Counted {
  readonly sent: number;
  readonly again: number;
  readonly refused: number;
  readonly lost: number;
  readonly gapMs: number;
}

/** The two DaemonSets of the proxy: on each node the pod of one serves, that of the other waits. */
const PROXIES = ["cilium-envoy", "cilium-envoy-standby"] as const;

interface LabPods {
  readonly nodes: readonly {
    readonly pods: readonly { readonly name: string; readonly containers: readonly { readonly name: string; readonly pid: number }[] }[];
  }[];
}

describe("DNS policy in the lab", () => {
  let lab: Lab;
  let server = "";
  const inPod = (pod: string, ...command: string[]): Promise<Outcome> => lab.kubectl("-n", "names", "exec", pod, "--", ...command);
  const dig = async (pod: string, ...args: string[]) => (await inPod(pod, "dig", "+time=2", "+tries=2", ...args)).stdout;
  const connect = async (pod: string, address: string) => (await inPod(pod, "nc", "-z", "-w", "2", address, "443")).code === 0;
  const until = async (what: string, holds: () => Promise<boolean>) => {
    for (const end = Date.now() + DEADLINE_MS; !(await holds()); await wait(200)) assert.ok(Date.now() < end, what);
  };
  const flood = async (seconds: number): Promise<Counted> => {
    const { stdout, stderr } = await inPod("client", process.execPath, PROBE, server, "api.stripe.com", String(RATE), String(seconds));
    assert.ok(stdout !== "", stderr);
    return JSON.parse(stdout) as Counted;
  };
  before(async () => {
    lab = await startLab();
    for (const args of [
      ["apply", "-f", MANIFEST, "-f", BY_NAME],
      ["-n", "names", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"],
      ["-n", "names", "wait", "--for=condition=Valid", "cnp", "--all", "--timeout=90s"],
    ]) {
      const { code, stderr } = await lab.kubectl(...args);
      assert.equal(code, 0, stderr);
    }
    const pods = await lab.kubectl("-n", "kube-system", "get", "pod", "-l", "k8s-app=kube-dns", "-o", "jsonpath={.items[0].status.podIP}");
    server = pods.stdout;
    await until("the policy refuses", async () => (await dig("client", "api.paypal.com")).includes("REFUSED"));
  });
  after(() => lab?.[Symbol.asyncDispose]());

  it("answers the names that a rule names, refuses others and says which rule", async () => {
    assert.match(await dig("client", "+short", "api.stripe.com"), /^198\.51\.100\./);
    assert.match(await dig("client", "+tcp", "+short", "API.Stripe.com"), /^198\.51\.100\./);
    assert.match(
      await dig("client", "api.paypal.com"),
      /REFUSED[\s\S]*names\/stripe does not allow this name \(nearest: \*\.stripe\.com\)/,
    );
  });

  it("opens what the pod has asked for, on the rule's port, and nothing for its neighbour with the same rules", async () => {
    const address = (await dig("client", "+short", "api.stripe.com")).trim();
    assert.equal(await connect("client", address), true);
    assert.equal((await inPod("client", "nc", "-z", "-w", "1", address, "80")).code === 0, false);
    assert.equal(await connect("neighbour", address), false);
    await dig("neighbour", "api.stripe.com");
    assert.equal(await connect("neighbour", address), true);
  });

  it("shows what was learned, and forgets it on demand", async () => {
    await dig("client", "api.stripe.com");
    const env = lab.env;
    const list = async () => (await run("bin/cilium", ["fqdn", "cache", "list", "-p", "*.stripe.com"], { env })).stdout;
    assert.match(
      await list(),
      /^Endpoint +Source +FQDN +TTL +ExpirationTime +IPs\n[\s\S]*lookup +api\.stripe\.com\. +\d+ +\S+ +198\.51\.100\.\d+/,
    );
    const names = await run("bin/cilium", ["fqdn", "names"], { env });
    assert.match(names.stdout, /MatchPattern: \*\.stripe\.com/);
    const clean = await run("bin/cilium", ["fqdn", "cache", "clean", "-f"], { env });
    assert.deepEqual([clean.code, clean.stdout], [0, "FQDN proxy cache cleared\n"]);
    assert.doesNotMatch(await list(), /stripe/);
  });

  it("shows questions, answers and denials as flows", async () => {
    await dig("client", "api.paypal.com");
    const observe = async () => {
      const args = ["observe", "--namespace", "names", "--protocol", "dns", "--since", "1m"];
      return (await run("bin/hubble", args, { env: lab.env })).stdout;
    };
    await until("flows", async () => {
      const text = await observe();
      return (
        /dns-request proxy FORWARDED \(DNS Query api\.stripe\.com\. A\)/.test(text) &&
        /dns-request proxy DROPPED \(DNS Query api\.paypal\.com\. A\)/.test(text)
      );
    });
  });

  it("asks the L7 rules of servers that were reached by name: HTTP, TLS, Kafka, and DNS of another server", async () => {
    const sh = (command: string) => lab.kubectl("-n", "by-name", "exec", "client", "--", "bash", "-c", command);
    const prints = (command: string, wanted: RegExp) =>
      until(`${command} prints ${wanted}`, async () => wanted.test((await sh(`${command} 2>&1`)).stdout));
    const status = (url: string) => `curl -sk -m 5 -o /dev/null -w '%{http_code}' ${url}`;
    await prints(status("http://httpbin.org/private"), /^403$/);
    await prints(status("http://httpbin.org/public/x"), /^200$/);
    await prints(status("https://api.github.com/"), /^200$/);
    await prints(status("https://cilium.io/"), /^000/);
    await prints(`printf '${KAFKA_QUESTION}' | nc -w 2 kubernetes.io 80 | xxd -p -c 256`, KAFKA_DENIAL);
    await prints("dig +time=2 +tries=2 +short @dns.example.net api.stripe.com", /^198\.51\.100\./);
    await prints("dig +time=2 +tries=2 @dns.example.net api.paypal.com", /REFUSED/);
  });

  it("does what docs/howto/dns-policies.md says, command by command", async () => {
    const blocks = [...readFileSync(PAGE, "utf8").matchAll(/```\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
    const commands = blocks.flatMap((block) => block.split("\n")).filter((line) => line !== "" && !/lab (up|env)/.test(line));
    for (const command of commands) {
      const wanted = PRINTED.find(([shape]) => shape.test(command))?.[1] ?? /^/;
      let outcome: Outcome | undefined;
      await until(`${command} prints ${wanted}`, async () => {
        outcome = await run("bash", ["-c", command], { env: lab.env });
        return outcome.code === 0 && wanted.test(outcome.stdout);
      });
    }
  });

  it("lets a connection begin that outlives the time of its name", async () => {
    const address = (await dig("neighbour", "+short", "api.stripe.com")).trim();
    void inPod("neighbour", "bash", "-c", `exec 3<>/dev/tcp/${address}/443; sleep 300`);
    const connections = `ss -Htn state established dst ${address}`;
    await until("the connection", async () => (await inPod("neighbour", "bash", "-c", connections)).stdout.includes(address));
  });

  it("answers every question when all agents are killed, and new names resolve and connect while they are away", async () => {
    const status = JSON.parse((await cilium("lab", "status", "-o", "json")).stdout) as { nodes: { agent?: { pid?: number } }[] };
    const flooding = flood(5);
    await wait(1500);
    for (const { agent } of status.nodes) if (agent?.pid) process.kill(agent.pid, "SIGKILL");
    const address = (await dig("client", "+short", "api.stripe.com")).trim();
    assert.equal(await connect("client", address), true);
    assertServed(await flooding, 5);
  });

  /** All were answered, if not the first time then when they were asked again, and before that there were answers all the time. */
  const assertServed = ({ again: _, gapMs, ...rest }: Counted, seconds: number) => {
    assert.deepEqual(rest, { sent: seconds * RATE, refused: 0, lost: 0 });
    assert.ok(gapMs < RETRY_MS, `no answer for ${gapMs} ms`);
  };
  /** Process ids of a DaemonSet's proxies. */
  const pidsOf = async (daemonSet: string): Promise<number[]> => {
    const { nodes } = JSON.parse((await cilium("lab", "status", "-o", "json")).stdout) as LabPods;
    const containers = nodes.flatMap(({ pods }) => pods.flatMap((pod) => pod.containers));
    return containers.filter(({ name, pid }) => name === daemonSet && pid > 0).map(({ pid }) => pid);
  };
  /** Until every node has a proxy that could go on at once. */
  const proxiesWait = () =>
    until("a proxy waits on every node", async () => {
      const logs = await Promise.all(
        PROXIES.map((name) => lab.kubectl("-n", "kube-system", "logs", "-l", `k8s-app=${name}`, "--tail=-1", "--prefix")),
      );
      const lines = logs.flatMap(({ stdout }) => stdout.split("\n"));
      const last = new Map<string, string>();
      for (const line of lines) if (/waiting for its turn|listening for redirected/.test(line)) last.set(line.split(" ")[0] ?? "", line);
      return [...last.values()].filter((line) => line.includes("waiting for its turn")).length === NODES;
    });

  it("fails no request and no question when both proxies of every node are replaced", async () => {
    await proxiesWait();
    const flooding = flood(6);
    const get = `for i in $(seq ${REQUESTS}); do curl -s -m 10 -o /dev/null -w '%{http_code}\\n' http://httpbin.org/public/x; done | sort | uniq -c`;
    const requesting = lab.kubectl("-n", "by-name", "exec", "client", "--", "bash", "-c", get);
    await wait(1500);
    const restarted = await lab.kubectl("-n", "kube-system", "rollout", "restart", ...PROXIES.map((name) => `daemonset/${name}`));
    assert.equal(restarted.code, 0, restarted.stderr);
    assertServed(await flooding, 6);
    assert.equal((await requesting).stdout.trim(), `${REQUESTS} 200`);
    for (const name of PROXIES) {
      const { code, stderr } = await lab.kubectl("-n", "kube-system", "rollout", "status", `daemonset/${name}`, "--timeout=170s");
      assert.equal(code, 0, stderr);
    }
  });

  for (const name of PROXIES) {
    it(`answers what is asked again when ${name} is killed, and what it had opened stays open`, async () => {
      await proxiesWait();
      const address = (await dig("client", "+short", "api.stripe.com")).trim();
      const flooding = flood(5);
      await wait(1500);
      for (const pid of await pidsOf(name)) process.kill(pid, "SIGKILL");
      assert.equal(await connect("client", address), true);
      assertServed(await flooding, 5);
    });
  }

  it("lets others begin as long as that connection lives, after the time of the name and of the proxies that had learned it", async () => {
    const list = async () =>
      (await run("bin/cilium", ["fqdn", "cache", "list", "-s", "connection", "-o", "wide"], { env: lab.env })).stdout;
    const used = /connection +api\.stripe\.com\..* (198\.51\.100\.\d+) .*names\/neighbour/;
    await until("the time of the name is over", async () => used.test(await list()));
    const [, address = ""] = used.exec(await list()) ?? [];
    assert.equal(await connect("neighbour", address), true);
  });
});
