import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { runH2load } from "./probe/h2load.ts";
import { HAPROXY_DEFAULTS } from "./probe/haproxy.ts";
import { cpuOf, runWrk } from "./probe/wrk.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";
import { installTools } from "./tools.ts";

const SERVER = 18080;
const SERVER2 = 18085;
const PORTS = {
  ...{ haproxy: 18081, ours: 18082, nginx: 18083, node: 18084, direct: SERVER },
  /** HTTP/2 without TLS on both sides. */
  ...{ haproxy2: 18086, ours2: 18087, direct2: SERVER2 },
  /** With so many rules. */
  ...{ ours100: 18088, ours500: 18089 },
  /** Writes a line for each request, as ours does. */
  haproxyLog: 18090,
} as const;
const TOOLS = {
  wrk: "/usr/bin/wrk",
  haproxy: "/usr/sbin/haproxy",
  "nginx-light": "/usr/sbin/nginx",
  "nghttp2-client": "/usr/bin/h2load",
} as const;
const ROUNDS = 4;
const [WARM_SECONDS, SECONDS] = [4, 2];
const PAIRED_ROUNDS = 7;
/** The load on one core, proxies and server on the other: the same for all. */
const [LOAD_CORE, PROXY_CORE] = ["0", "1"];

type Name = keyof typeof PORTS;

const HAPROXY_SERVER = `${HAPROXY_DEFAULTS}
frontend server
  bind 127.0.0.1:${SERVER}
  bind 127.0.0.1:${SERVER2} proto h2
  http-request return status 200 content-type text/plain string "${"x".repeat(100)}"
`;

const haproxyPolicy = (port: number, server: number, { proto = "", log = "" } = {}) => `${HAPROXY_DEFAULTS}
frontend policy
  bind 127.0.0.1:${port} ${proto}
  ${log}
  acl admin path_reg ^/admin/[a-z]+$
  acl public path_reg ^/public/v[0-9]+/.*$
  http-request deny deny_status 403 unless METH_GET public or METH_POST admin
  default_backend server
backend server
  server s 127.0.0.1:${server} ${proto}
`;

/** To the standard output, which is thrown away, as the records of ours are. */
const HAPROXY_LOG = "log stdout format raw local0 info\n  option httplog";

const nginxPolicy = (directory: string) => `
daemon off;
master_process off;
worker_processes 1;
error_log /dev/null;
pid ${directory}/nginx.pid;
events { worker_connections 4000; }
http {
  access_log off;
  keepalive_requests 100000000;
  upstream server { server 127.0.0.1:${SERVER}; keepalive 64; }
  server {
    listen 127.0.0.1:${PORTS.nginx};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location ~ ^/public/v[0-9]+/.*$ { limit_except GET { deny all; } proxy_pass http://server; }
    location ~ ^/admin/[a-z]+$ { limit_except POST { deny all; } proxy_pass http://server; }
    location / { return 403; }
  }
}
`;

/** What one round of load told of a proxy. */
interface Sample {
  /** One over the rate, so that less is better. */
  readonly request: number;
  /** Processor time of the proxy, user and system. */
  readonly cpu: number;
  readonly p99: number;
}

/** Puts load on a port for so many seconds. */
type Load = (port: number, seconds: number) => Promise<{ readonly rate: number; readonly count: number; readonly p99?: number }>;

const target = (port: number) => ({ core: LOAD_CORE, url: `http://127.0.0.1:${port}/public/v1/thing` });
const wrk =
  (connections: number, script?: string): Load =>
  (port, seconds) =>
    runWrk({ ...target(port), connections, seconds, script });
const h2load: Load = (port, seconds) => runH2load({ ...target(port), connections: 8, seconds });

async function sample(name: Name, pid: number | undefined, load: Load, seconds: number): Promise<Sample> {
  const before = pid === undefined ? 0 : cpuOf(pid);
  const { rate, count, p99 = Number.NaN } = await load(PORTS[name], seconds);
  return { request: 1e6 / rate, cpu: pid === undefined ? 0 : (cpuOf(pid) - before) / count, p99 };
}

async function untilOpen(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = connect(port, "127.0.0.1");
    const open = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (open) return;
    await wait(20);
  }
  throw new Error(`nobody listens on port ${port}`);
}

/** Another path with each request, as no connection asks for the same for ever. */
const VARIED = `
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/public/v1/thing-" .. n % 5000)
end
`;

/** HTTP policy by method and path through the proxy, and the same rules elsewhere. Keep-alive, small answers, one core for proxy and server. */
export const benchmark: Benchmark = {
  name: "http-proxy",
  about: "requests through the L7 proxy, against HAProxy, nginx and Node's http with the same rules, and none (Debian's wrk, h2load)",
  async run(progress): Promise<Row[]> {
    const missing = installTools(TOOLS);
    if (missing !== undefined) {
      progress(`skipped: ${missing}`);
      return [];
    }
    const directory = mkdtempSync(join(tmpdir(), "cilium-bench-"));
    const file = (name: string, text: string) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const children = startAll(directory, file);
    const pids = new Map([...children].map(([name, child]) => [name, child.pid]));
    try {
      for (const port of Object.values(PORTS)) await untilOpen(port);
      const varied = wrk(32, file("varied.lua", VARIED));
      const measure = (label: string, load: Load, ...names: readonly Name[]) =>
        compare(names, pids, load, (round) => progress(`${label}, round ${round} of ${ROUNDS}`));
      const peers = ["ours", "haproxy", "nginx", "node", "direct"] as const;
      return [
        ...againstPeers("1", await measure("1 connection", wrk(1), ...peers)),
        ...againstPeers("32", await measure("32 connections", wrk(32), ...peers)),
        ...variedRows(await measure("32 connections, other paths", varied, "ours", "haproxy", "ours100", "ours500")),
        ...http2Rows(await measure("HTTP/2", h2load, "ours2", "haproxy2", "direct2")),
        ...(await pairedRows(pids, varied, progress)),
      ];
    } finally {
      for (const child of children.values()) child.kill("SIGKILL");
      rmSync(directory, { recursive: true });
    }
  },
};

/** So many rules, of which the last is about what is asked for. */
function manyRules(count: number): string {
  const others = Array.from({ length: count - 1 }, (_, n) => ({ method: "GET", path: `/service-${n}/v[0-9]+/.*` }));
  return JSON.stringify([...others, { method: "GET", path: "/public/v[0-9]+/.*" }]);
}

function startAll(directory: string, file: (name: string, text: string) => string): ReadonlyMap<string, ChildProcess> {
  const probes = { ours: new URL("probe/http-proxy.ts", import.meta.url), node: new URL("probe/node-http-proxy.ts", import.meta.url) };
  const start = (...command: readonly string[]) => spawn("taskset", ["-c", PROXY_CORE, ...command], { stdio: "ignore" });
  const haproxy = (name: string, text: string) => start("haproxy", "-f", file(name, text));
  const node = (which: keyof typeof probes, port: number, server: number, ...more: readonly string[]) =>
    start(process.execPath, probes[which].pathname, String(port), String(server), ...more);
  return new Map<string, ChildProcess>([
    ["server", haproxy("server", HAPROXY_SERVER)],
    ["haproxy", haproxy("policy", haproxyPolicy(PORTS.haproxy, SERVER))],
    ["haproxy2", haproxy("policy2", haproxyPolicy(PORTS.haproxy2, SERVER2, { proto: "proto h2" }))],
    ["haproxyLog", haproxy("policyLog", haproxyPolicy(PORTS.haproxyLog, SERVER, { log: HAPROXY_LOG }))],
    ["nginx", start("nginx", "-c", file("nginx", nginxPolicy(directory)))],
    ["node", node("node", PORTS.node, SERVER)],
    ["ours", node("ours", PORTS.ours, SERVER)],
    ["ours2", node("ours", PORTS.ours2, SERVER2)],
    ["ours100", node("ours", PORTS.ours100, SERVER, "127.0.0.1", manyRules(100))],
    ["ours500", node("ours", PORTS.ours500, SERVER, "127.0.0.1", manyRules(500))],
  ]);
}

/** Processor time of two proxies for a request, microseconds. */
interface Pair {
  readonly ours: number;
  readonly peer: number;
}

/**
 * Both proxies under load at once, so that whatever else the machine does meets both alike: rounds in turn differ by half on a machine that others share, these
 * ratios by a hundredth. The round with the median ratio.
 */
async function sideBySide(names: readonly [Name, Name], pids: ReadonlyMap<string, number | undefined>, load: Load): Promise<Pair> {
  const rounds: Pair[] = [];
  for (let round = 0; round < PAIRED_ROUNDS; round++) {
    const [one, other] = await Promise.all(names.map((name) => sample(name, pids.get(name), load, SECONDS)));
    if (one && other) rounds.push({ ours: one.cpu, peer: other.cpu });
  }
  const byRatio = rounds.sort((a, b) => a.ours / a.peer - b.ours / b.peer);
  return byRatio[Math.floor(byRatio.length / 2)] ?? { ours: Number.NaN, peer: Number.NaN };
}

type Medians = (name: Name, what: keyof Sample) => number;

/** Rounds in turn, so that whatever else the machine does meets all of them; the medians are compared. */
async function compare(
  names: readonly Name[],
  pids: ReadonlyMap<string, number | undefined>,
  load: Load,
  onRound: (round: number) => void,
): Promise<Medians> {
  const samples = new Map<Name, Sample[]>();
  // Engines that compile as they go are measured when they have.
  for (const name of names) if (/^(?:ours|node)/.test(name)) await load(PORTS[name], WARM_SECONDS);
  for (let round = 1; round <= ROUNDS; round++) {
    onRound(round);
    for (const name of names) samples.set(name, [...(samples.get(name) ?? []), await sample(name, pids.get(name), load, SECONDS)]);
  }
  return (name, what) =>
    quantile(
      (samples.get(name) ?? []).map((one) => one[what]),
      0.5,
    );
}

const UNITS = { request: "us/request", cpu: "us/request", p99: "us" } as const;

function row(name: string, what: keyof Sample, median: Medians, ours: Name, peer: Name, peerName: string): Row {
  return { name: `http-proxy/${name}`, unit: UNITS[what], ours: median(ours, what), peer: median(peer, what), peerName };
}

const rateOf = (median: Medians, name: Name) => `${Math.round(1e6 / median(name, "request"))} requests/s`;

/** Processor time of the proxy for a request, beside HAProxy's. */
async function pairedRows(pids: ReadonlyMap<string, number | undefined>, varied: Load, progress: (text: string) => void): Promise<Row[]> {
  const pairs = [
    { label: "1", pair: ["ours", "haproxy"], load: wrk(1), goal: 1 },
    { label: "32", pair: ["ours", "haproxy"], load: wrk(32), goal: 1 },
    { label: "32-log", pair: ["ours", "haproxyLog"], load: wrk(32), goal: 1, note: "both write a line for each request" },
    { label: "varied", pair: ["ours", "haproxy"], load: varied, goal: 1, note: "another path with each request" },
    { label: "varied-log", pair: ["ours", "haproxyLog"], load: varied, goal: 1 },
    { label: "h2", pair: ["ours2", "haproxy2"], load: h2load },
  ] as const;
  const rows: Row[] = [];
  for (const { label, pair, load, ...rest } of pairs) {
    progress(`${label}: side by side with HAProxy`);
    const measured = await sideBySide(pair, pids, load);
    rows.push({ name: `http-proxy/${label}-cpu`, unit: "us/request", ...measured, peerName: "HAProxy", ...rest });
  }
  return rows;
}

function againstPeers(label: string, median: Medians): Row[] {
  const of = (what: keyof Sample, peer: Name, peerName: string) =>
    row(`${label}-${what}${peer === "haproxy" ? "" : `-of-${peer}`}`, what, median, "ours", peer, peerName);
  return [
    { ...of("request", "haproxy", "HAProxy"), goal: 1, note: rateOf(median, "ours") },
    of("p99", "haproxy", "HAProxy"),
    ...(["request", "cpu", "p99"] as const).map((what) => of(what, "nginx", "nginx")),
    ...(["request", "cpu"] as const).map((what) => of(what, "node", "Node's http")),
    of("request", "direct", "no proxy"),
  ];
}

function variedRows(median: Medians): Row[] {
  const rules = ([count, name]: readonly [number, Name]) => ({
    ...row(`rules-${count}-cpu`, "cpu", median, name, "ours", "two rules"),
    goal: 1.1,
  });
  return [
    { ...row("varied-request", "request", median, "ours", "haproxy", "HAProxy"), goal: 1, note: rateOf(median, "ours") },
    ...(
      [
        [100, "ours100"],
        [500, "ours500"],
      ] as const
    ).map(rules),
  ];
}

function http2Rows(median: Medians): Row[] {
  return [
    { ...row("h2-request", "request", median, "ours2", "haproxy2", "HAProxy"), note: rateOf(median, "ours2") },
    row("h2-request-of-direct", "request", median, "ours2", "direct2", "no proxy"),
  ];
}
