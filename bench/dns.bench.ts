import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { maps } from "#datapath/gen/maps.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { createGrants } from "#proxy/dns/grants.ts";
import { Names } from "#proxy/dns/names.ts";
import { DNS_PROXY_PORT, type DnsEndpoint, type DnsPolicyMessage, type DnsSettings } from "#proxy/dns/protocol.ts";
import { silentLogger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { RealNode, type RealPod } from "../test/netns/nodes.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";
import { installTools } from "./tools.ts";

const TOOLS = { dnsperf: "/usr/bin/dnsperf", unbound: "/usr/sbin/unbound", "dnsmasq-base": "/usr/sbin/dnsmasq" } as const;
/** Where each way of asking listens; ours is the server's own port, redirected. */
const PORTS = { direct: 5353, ours: 53, dnsmasq: 5301, unbound: 5302 } as const;
type Way = keyof typeof PORTS;
/** The load on one core, proxies and server on the other. */
const [LOAD_CORE, PROXY_CORE] = ["0", "1"];
const [SECONDS, ROUNDS, STEADY_QPS] = [2, 3, 5000];
const PATTERNS = 100;
const NAMES = 10_000;
const ROTATING = 100;
const SETTINGS: DnsSettings = { rejectWith: "refused", minTtl: 0, maxIpsPerName: 1000, maxDeferred: 10_000, grace: 0, maxCalls: 0 };

const SERVER = (directory: string) => `
server:
  do-daemonize: no
  username: ""
  chroot: ""
  use-syslog: no
  pidfile: ""
  directory: "${directory}"
  interface: 0.0.0.0@53
  interface: 0.0.0.0@5353
  access-control: 0.0.0.0/0 allow
  num-threads: 1
  local-zone: "bench." redirect
  local-data: "bench. 60 IN A 198.51.100.7"
remote-control:
  control-enable: no
`;

const FORWARDER = (directory: string, server: string) => `
server:
  do-daemonize: no
  username: ""
  chroot: ""
  use-syslog: no
  pidfile: ""
  directory: "${directory}"
  interface: 0.0.0.0@${PORTS.unbound}
  access-control: 0.0.0.0/0 allow
  num-threads: 1
  do-not-query-localhost: no
  cache-max-ttl: 0
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: ${server}
remote-control:
  control-enable: no
`;

function policyFor(client: RealPod): DnsPolicyMessage {
  const names = Array.from({ length: PATTERNS }, (_, i) => ({ matchPattern: `*.d${i}.bench` }));
  const endpoint: DnsEndpoint = {
    ...{ id: client.lxcId, key: "bench", identity: client.identity, ips: [client.ipv4] },
    ports: [{ port: 53, protocol: 17, rules: [{ identities: null, names, origins: [] }] }],
    selectors: names.map((one, i) => ({ ...one, identity: 0x0100_0001 + i })),
  };
  return { type: "dns-policy", revision: 1, settings: SETTINGS, endpoints: [endpoint] };
}

/** Of /proc/PID/stat: the kernel counts in hundredths of a second. */
const TICK_US = 10_000;

interface Load {
  readonly qps: number;
  readonly latencies: number[];
  readonly lost: number;
  /** Microseconds a query. */
  readonly cpu: number;
}

interface Best {
  readonly p50: number;
  readonly p99: number;
  readonly qps: number;
  readonly lost: number;
  readonly cpu: number;
}

class World implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "dns-bench-"));
  readonly #nodes = [new RealNode("dnsb", 1), new RealNode("dnsb", 2)];
  readonly #children: ChildProcess[] = [];
  readonly #servers = new Map<Way, ChildProcess>();
  readonly client: RealPod;
  readonly server: RealPod;

  constructor() {
    const [one, two] = this.#nodes as [RealNode, RealNode];
    RealNode.connect(one, two);
    one.start();
    this.client = one.addPod("dnsbclient", 40_002, {
      egress: [{ protocol: 17, port: 53, proxyPort: DNS_PROXY_PORT }, { protocol: 17 }],
    });
    this.server = one.addPod("dnsbserver", 40_001);
    one.learn([one]);
    writeFileSync(join(this.directory, "queries"), Array.from({ length: 1000 }, (_, i) => `n${i}.d${i % PATTERNS}.bench A`).join("\n"));
  }

  get node(): RealNode {
    return this.#nodes[0] as RealNode;
  }

  run(netns: string, ...command: readonly string[]): ChildProcess {
    const args = [`--net=${netns}`, "taskset", "-c", PROXY_CORE, ...command];
    const child = spawn("nsenter", args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  async start(): Promise<void> {
    const conf = (name: string, text: string) => {
      writeFileSync(join(this.directory, name), text);
      return join(this.directory, name);
    };
    this.run(this.server.netns.path, TOOLS.unbound, "-d", "-c", conf("server.conf", SERVER(this.directory)));
    const forwarder = conf("forwarder.conf", FORWARDER(this.directory, this.server.ipv4));
    this.#servers.set("unbound", this.run(this.node.path, TOOLS.unbound, "-d", "-c", forwarder));
    const dnsmasq = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--cache-size=0", "--conf-file=/dev/null", "--user=root"];
    const forward = [`--server=${this.server.ipv4}`, `--port=${PORTS.dnsmasq}`, "--dns-forward-max=10000", "--pid-file="];
    this.#servers.set("dnsmasq", this.run(this.node.path, TOOLS["dnsmasq-base"], ...dnsmasq, ...forward));
    const probe = new URL("probe/dns-proxy.ts", import.meta.url).pathname;
    const ours = this.run(this.node.path, process.execPath, probe, this.directory, JSON.stringify(policyFor(this.client)));
    this.#servers.set("ours", ours);
    if (ours.stdout) await once(ours.stdout, "data");
    await wait(500);
  }

  addressOf(way: Way): string {
    return way === "direct" || way === "ours" ? this.server.ipv4 : this.node.ipv4;
  }

  /** Microseconds that the forwarder has used so far. */
  cpuOf(way: Way): number {
    const pid = this.#servers.get(way)?.pid;
    if (pid === undefined) return 0;
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [user = 0, system = 0] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13)
      .map(Number);
    return (user + system) * TICK_US;
  }

  /** Queries a second, as many as go through, and the forwarder's time for each; or the latencies in microseconds at a steady rate. */
  async load(way: Way, steady: boolean): Promise<Load> {
    const before = this.cpuOf(way);
    const where = ["-s", this.addressOf(way), "-p", String(PORTS[way]), "-d", join(this.directory, "queries"), "-l", String(SECONDS)];
    const rate = steady ? ["-v", "-Q", String(STEADY_QPS), "-q", "50"] : ["-q", "64", "-c", "4"];
    const args = [`--net=${this.client.netns.path}`, "taskset", "-c", LOAD_CORE, TOOLS.dnsperf, "-t", "1", ...where, ...rate];
    const { stdout } = await promisify(execFile)("nsenter", args, { maxBuffer: 1 << 28 });
    const qps = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0);
    const lost = Number(/Queries lost:\s+(\d+)/.exec(stdout)?.[1] ?? 0);
    const latencies = [...stdout.matchAll(/^> NOERROR \S+ A (\d+\.\d+)$/gm)].map((match) => Number(match[1]) * 1e6);
    const completed = Number(/Queries completed:\s+(\d+)/.exec(stdout)?.[1] ?? 0);
    return { qps, latencies, lost, cpu: (this.cpuOf(way) - before) / completed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    for (const node of this.#nodes) node[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function measure(progress: (text: string) => void): Promise<Row[]> {
  await using world = new World();
  await world.start();
  const best: Record<string, Best> = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of Object.keys(PORTS) as Way[]) {
      const steady = await world.load(way, true);
      const full = await world.load(way, false);
      const [p50, p99] = [quantile(steady.latencies, 0.5), quantile(steady.latencies, 0.99)];
      const old = best[way] ?? { p50: Infinity, p99: Infinity, qps: 0, lost: 0, cpu: Infinity };
      best[way] = {
        p50: Math.min(old.p50, p50),
        p99: Math.min(old.p99, p99),
        qps: Math.max(old.qps, full.qps),
        lost: old.lost + steady.lost,
        cpu: Math.min(old.cpu, full.cpu),
      };
      progress(`${way}: ${Math.round(full.qps)} queries/s, p50 ${Math.round(p50)} µs, p99 ${Math.round(p99)} µs at ${STEADY_QPS}/s`);
    }
  }
  return rowsOf(best);
}

function rowsOf(best: Readonly<Record<string, Best>>): Row[] {
  const { direct, ours, dnsmasq, unbound } = best;
  if (!direct || !ours || !dnsmasq || !unbound) throw new Error("a way of asking was not measured");
  const note = `best of ${ROUNDS} rounds, ${PATTERNS} patterns`;
  return [
    { name: "dns-added-p50", unit: "us", ours: ours.p50 - direct.p50, goal: 80, note },
    { name: "dns-added-p99", unit: "us", ours: ours.p99 - direct.p99, goal: 1000, note },
    { name: "dns-p50-over-dnsmasq", unit: "us", ours: ours.p50, peer: dnsmasq.p50, peerName: "dnsmasq" },
    { name: "dns-p50-over-unbound", unit: "us", ours: ours.p50, peer: unbound.p50, peerName: "unbound" },
    { name: "dns-us-per-query", unit: "us", ours: 1e6 / ours.qps, goal: 40, note: `${Math.round(ours.qps)} queries/s` },
    { name: "dns-us-over-direct", unit: "us", ours: 1e6 / ours.qps, peer: 1e6 / direct.qps, peerName: "direct" },
    { name: "dns-us-over-dnsmasq", unit: "us", ours: 1e6 / ours.qps, peer: 1e6 / dnsmasq.qps, peerName: "dnsmasq" },
    { name: "dns-us-over-unbound", unit: "us", ours: 1e6 / ours.qps, peer: 1e6 / unbound.qps, peerName: "unbound" },
    { name: "dns-cpu-over-dnsmasq", unit: "us", ours: ours.cpu, peer: dnsmasq.cpu, peerName: "dnsmasq", note: "the forwarder alone" },
    { name: "dns-cpu-over-unbound", unit: "us", ours: ours.cpu, peer: unbound.cpu, peerName: "unbound" },
    { name: "dns-lost", unit: "queries", ours: ours.lost, goal: 0, note: `at ${STEADY_QPS}/s` },
  ];
}

/** Ten thousand names, each with a hundred addresses in turn: what one answer costs at the beginning and at the end, and what it all takes. */
function rotation(): Row[] {
  using map = openBpf().createMap(maps.ciliumFqdn);
  const grants = createGrants(() => map);
  const before = process.memoryUsage().rss / 1e6;
  let now = 1000;
  const names = new Names({ log: silentLogger, grants, findLive: async () => new Set(), journal: () => undefined, now: () => now });
  names.adopt([]);
  const selectors = [{ matchPattern: "*.bench", identity: 0x0100_0001 }];
  const endpoint: DnsEndpoint = { id: 7, key: "bench", identity: 1, ips: ["10.0.0.7"], ports: [], selectors };
  names.setPolicy({ settings: SETTINGS, endpoints: [endpoint] });
  const rounds: number[] = [];
  let early = 0;
  let half = 0;
  for (let turn = 0; turn < ROTATING; turn++) {
    const samples: number[] = [];
    for (let i = 0; i < NAMES; i++) {
      const n = i * ROTATING + turn;
      const ip = IpAddress(`100.${64 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`);
      const asked = performance.now();
      names.learn(7, `n${i}.bench.`, [{ ip, ttl: 30 }]);
      samples.push((performance.now() - asked) * 1000);
      if (i % 10 === 0 && grants.get(7, ip).length === 0) early += 1;
    }
    rounds.push(quantile(samples, 0.5));
    now += 1;
    names.sweep();
    if (turn === ROTATING / 2) half = keptMemory();
  }
  const taken = process.memoryUsage().rss / 1e6 - before;
  const { addresses, deferred } = names.counts();
  const [first, last] = [rounds.slice(0, 10), rounds.slice(-10)].map((some) => quantile(some, 0.5));
  const note = `${NAMES} names x ${ROTATING} addresses`;
  return [
    { name: "dns-learn-last-over-first", unit: "us", ours: last ?? 0, peer: first ?? 0, peerName: "first tenth", goal: 1.5, note },
    { name: "dns-addresses-kept", unit: "", ours: addresses + deferred, goal: 80_000, note },
    { name: "dns-released-early", unit: "answers", ours: early, goal: 0, note: "the kernel's map asked before every tenth answer leaves" },
    { name: "dns-memory", unit: "MB", ours: taken, goal: 300, note: `${note}, garbage included` },
    { name: "dns-memory-last-over-half", unit: "MB", ours: keptMemory(), peer: half, peerName: "half", goal: 1.1, note },
  ];
}

/** Megabytes that are in use. */
function keptMemory(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed / 1e6;
}

export const benchmark: Benchmark = {
  name: "dns",
  about: "added latency and queries a second of DNS policy, against going direct, dnsmasq and unbound; ten thousand rotating names",
  async run(progress) {
    const reason = process.getuid?.() === 0 ? installTools(TOOLS) : "needs root";
    if (reason !== undefined) {
      progress(`skipped: ${reason}`);
      return rotation();
    }
    return [...(await measure(progress)), ...rotation()];
  },
};
