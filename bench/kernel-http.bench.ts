import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { HttpRule } from "#proxy/protocol.ts";
import { KernelHttp } from "../test/netns/kernel-http.ts";
import { dial, RealNode, type RealPod } from "../test/netns/nodes.ts";
import { HAPROXY_DEFAULTS } from "./probe/haproxy.ts";
import { cpuOf, runWrk } from "./probe/wrk.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const [CLIENT, SERVER, HOST] = [10001, 10002, 1];
/** The server: with HTTP rules in the kernel, and without any. */
const [GUARDED, OPEN] = [80, 81];
const RULE_COUNTS = [1, 500] as const;
const HAPROXY: Readonly<Record<number, number>> = { 1: 18081, 500: 18082 };
const PROXY: Readonly<Record<number, number>> = { 1: 18083, 500: 18084 };
const ROUNDS = 4;
const [WARM_SECONDS, SECONDS] = [3, 2];
const CONNECTIONS = 32;
/** The load on one core, proxies and server on the other: the same for all. */
const [LOAD_CORE, PROXY_CORE] = ["0", "1"];

type Way = "kernel" | "haproxy" | "proxy" | "direct";
const WAYS: readonly Way[] = ["kernel", "haproxy", "proxy", "direct"];

/** One rule that fits, the last of so many. */
function rules(count: number): HttpRule[] {
  const others = Array.from({ length: count - 1 }, (_, i) => ({ method: "GET", path: `/api/resource-${i}/.*` }));
  return [...others, { method: "GET", path: "/public/v1/.*" }];
}

function haproxyConfig(server: string): string {
  const frontends = RULE_COUNTS.map((count) => {
    const paths = rules(count).map(({ path }) => `  acl allowed path_beg ${path?.replace(".*", "")}`);
    return `
frontend policy${count}
  bind 0.0.0.0:${HAPROXY[count]}
${paths.join("\n")}
  http-request deny deny_status 403 unless METH_GET allowed
  default_backend server`;
  });
  return `${HAPROXY_DEFAULTS}${frontends.join("\n")}
backend server
  server s ${server}:${OPEN}
`;
}

const SERVER_CONFIG = `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 30s
frontend server
  bind 0.0.0.0:${GUARDED}
  bind 0.0.0.0:${OPEN}
  http-request return status 200 content-type text/plain string "${"x".repeat(100)}"
`;

/** Two nodes, a client on each, the server and the proxies on the first. */
class Place implements Disposable {
  readonly #scope = new DisposableStack();
  readonly #directory = mkdtempSync(join(tmpdir(), "cilium-bench-"));
  readonly #children: ChildProcess[] = [];
  readonly #nodes: readonly [RealNode, RealNode];
  readonly clients: Readonly<Record<"one-node" | "between-nodes", RealPod>>;
  readonly #server: RealPod;
  readonly #http: KernelHttp;

  constructor() {
    this.#scope.defer(() => rmSync(this.#directory, { recursive: true }));
    const prefix = `benchhttp${process.pid}`;
    const [near, far] = [this.#scope.use(new RealNode(prefix, 1)), this.#scope.use(new RealNode(prefix, 2))];
    this.#nodes = [near, far];
    RealNode.connect(near, far);
    for (const node of this.#nodes) node.start({ enableHttp: 1 });
    this.clients = { "one-node": near.addPod("a", CLIENT), "between-nodes": far.addPod("c", CLIENT) };
    this.#server = near.addPod("b", SERVER);
    for (const node of this.#nodes) node.learn(this.#nodes);
    this.#http = this.#scope.use(new KernelHttp(near.object, {}));
    const open = [CLIENT, HOST].map((peer) => ({ peer, protocol: 6, port: OPEN }));
    near.maps.setPolicy(this.#server, { ingress: [{ peer: CLIENT, protocol: 6, port: GUARDED, proxyPort: 10001 }, ...open] });
    this.#scope.defer(() => {
      for (const child of this.#children) child.kill("SIGKILL");
    });
    this.#start(this.#server.netns.path, "haproxy", "-f", this.#file("server", SERVER_CONFIG));
    this.#start(near.path, "haproxy", "-f", this.#file("policy", haproxyConfig(this.#server.ipv4)));
    const probe = new URL("probe/http-proxy.ts", import.meta.url).pathname;
    for (const count of RULE_COUNTS) {
      const args = [String(PROXY[count]), String(OPEN), this.#server.ipv4, JSON.stringify(rules(count))];
      this.#start(near.path, process.execPath, probe, ...args);
    }
  }

  #file(name: string, text: string): string {
    writeFileSync(join(this.#directory, name), text);
    return join(this.#directory, name);
  }

  #start(netns: string, ...command: readonly string[]): void {
    this.#children.push(spawn("nsenter", [`--net=${netns}`, "taskset", "-c", PROXY_CORE, ...command], { stdio: "ignore" }));
  }

  /** Makes these the rules of the guarded port. */
  allow(count: number): void {
    this.#http.allow(this.#server, CLIENT, [{ identities: null, http: rules(count), origins: [] }]);
  }

  /** Where to call for it to go that way. */
  #target(way: Way, count: number): readonly [host: RealPod["ipv4"], port: number] {
    if (way === "haproxy" || way === "proxy") return [this.#nodes[0].ipv4, (way === "haproxy" ? HAPROXY : PROXY)[count] ?? 0];
    return [this.#server.ipv4, way === "kernel" ? GUARDED : OPEN];
  }

  async untilOpen(): Promise<void> {
    for (const way of WAYS) {
      for (const count of RULE_COUNTS) {
        for (let attempt = 0; ; attempt++) {
          const socket = await dial(this.clients["between-nodes"].netns, ...this.#target(way, count)).catch((thrown: unknown) => {
            if (attempt === 200) throw thrown;
          });
          socket?.destroy();
          if (socket) break;
          await wait(20);
        }
      }
    }
  }

  /** Microseconds: one over the rate, processor time of load, proxies and server for a request, and the 99th percentile. */
  async measure(from: RealPod, way: Way, count: number, seconds: number, close = false): Promise<Sample> {
    const used = () => this.#children.reduce((sum, { pid }) => sum + cpuOf(pid ?? 0), 0);
    const before = used();
    const [host, port] = this.#target(way, count);
    const prefix = ["nsenter", `--net=${from.netns.path}`];
    const url = `http://${host}:${port}/public/v1/thing`;
    const { rate, count: requests, p99, cpu } = await runWrk({ core: LOAD_CORE, prefix, connections: CONNECTIONS, seconds, url, close });
    return { request: 1e6 / rate, cpu: (used() - before + cpu) / requests, p99 };
  }

  /** Requests that the kernel has decided. */
  get decided(): number {
    return this.#http.counts.forwarded;
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

type Sample = Readonly<Record<"request" | "cpu" | "p99", number>>;

/** HTTP policy without a proxy, between nodes and on one, beside proxies with the same rules and no HTTP policy at all. */
export const benchmark: Benchmark = {
  name: "kernel-http",
  about: "HTTP policy in the kernel, against HAProxy, our proxy and no policy (root; needs wrk and haproxy)",
  async run(progress): Promise<Row[]> {
    using place = new Place();
    place.allow(1);
    await place.untilOpen();
    const rows: Row[] = [];
    for (const [name, client] of Object.entries(place.clients)) {
      const medians = new Map<string, Sample>();
      for (const count of RULE_COUNTS) {
        place.allow(count);
        // What compiles as it goes is measured when it has.
        await place.measure(client, "proxy", count, WARM_SECONDS);
        const before = place.decided;
        const take = (way: Way) => place.measure(client, way, count, SECONDS);
        for (const [way, sample] of await inTurn(WAYS, take, (text) => progress(`${name}, ${count} rules, ${text}`))) {
          medians.set(`${way} ${count}`, sample);
        }
        if (place.decided === before) throw new Error("the kernel has decided nothing");
      }
      const take = (way: Way) => place.measure(client, way, 1, SECONDS, true);
      for (const [way, sample] of await inTurn(["kernel", "direct"], take, (text) => progress(`${name}, new connections, ${text}`))) {
        medians.set(`${way} close`, sample);
      }
      rows.push(...rowsOf(name as keyof Place["clients"], medians));
    }
    return rows;
  },
};

/** Rounds in turn, so that whatever else the machine does meets all ways; their medians. */
async function inTurn(
  ways: readonly Way[],
  take: (way: Way) => Promise<Sample>,
  progress: (text: string) => void,
): Promise<Map<Way, Sample>> {
  const samples = new Map<Way, Sample[]>(ways.map((way) => [way, []]));
  for (let round = 1; round <= ROUNDS; round++) {
    progress(`round ${round} of ${ROUNDS}`);
    for (const [way, taken] of samples) taken.push(await take(way));
  }
  return new Map([...samples].map(([way, taken]) => [way, medianOf(taken)]));
}

function medianOf(samples: readonly Sample[]): Sample {
  const of = (what: keyof Sample) =>
    quantile(
      samples.map((sample) => sample[what]),
      0.5,
    );
  return { request: of("request"), cpu: of("cpu"), p99: of("p99") };
}

const GOALS = { "between-nodes": 1 / 2.4, "one-node": 1 / 5 } as const;

function rowsOf(place: keyof typeof GOALS, medians: ReadonlyMap<string, Sample>): Row[] {
  const of = (way: Way, count: number | "close", what: keyof Sample) => medians.get(`${way} ${count}`)?.[what] ?? Number.NaN;
  const rows = RULE_COUNTS.flatMap((count): Row[] => {
    const row = (what: keyof Sample, peer: Way, peerName: string): Row => ({
      name: `kernel-http/${place}-${count}-${what}${peer === "haproxy" ? "" : `-of-${peer}`}`,
      ...{ unit: what === "p99" ? "us" : "us/request", ours: of("kernel", count, what), peer: of(peer, count, what), peerName },
    });
    const rate = `${Math.round(1e6 / of("kernel", count, "request"))} requests/s`;
    return [
      { ...row("request", "haproxy", "HAProxy"), goal: GOALS[place], note: rate },
      { ...row("cpu", "haproxy", "HAProxy"), note: "processor time of load, proxy and server" },
      row("p99", "haproxy", "HAProxy"),
      row("request", "proxy", "our proxy"),
      row("cpu", "proxy", "our proxy"),
      row("request", "direct", "no HTTP policy"),
      row("cpu", "direct", "no HTTP policy"),
      row("p99", "direct", "no HTTP policy"),
    ];
  });
  const [few, many] = RULE_COUNTS;
  const [ours, peer] = [of("kernel", many, "request"), of("kernel", few, "request")];
  const close = (what: keyof Sample): Row => ({
    name: `kernel-http/${place}-close-${what}-of-direct`,
    ...{ unit: what === "p99" ? "us" : "us/request", ours: of("kernel", "close", what), peer: of("direct", "close", what) },
    ...{ peerName: "no HTTP policy", note: "a connection for each request" },
  });
  return [
    ...rows,
    ...[close("request"), close("cpu"), close("p99")],
    { name: `kernel-http/${place}-many`, unit: "us/request", ours, peer, peerName: `${few} rule`, goal: 1.1, note: `${many} rules` },
  ];
}
