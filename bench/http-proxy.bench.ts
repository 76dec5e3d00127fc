import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { cpuOf, runWrk } from "./probe/wrk.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const SERVER = 18080;
const PORTS = { haproxy: 18081, ours: 18082, nginx: 18083, node: 18084, direct: SERVER } as const;
const ROUNDS = 4;
const [WARM_SECONDS, SECONDS] = [4, 2];
/** The load on one core, proxies and server on the other: the same for all. */
const [LOAD_CORE, PROXY_CORE] = ["0", "1"];

type Name = keyof typeof PORTS;

const HAPROXY_DEFAULTS = `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  http-reuse always
  timeout client 30s
  timeout server 30s
  timeout connect 5s
`;

const HAPROXY_SERVER = `${HAPROXY_DEFAULTS}
frontend server
  bind 127.0.0.1:${SERVER}
  http-request return status 200 content-type text/plain string "${"x".repeat(100)}"
`;

const HAPROXY_POLICY = `${HAPROXY_DEFAULTS}
frontend policy
  bind 127.0.0.1:${PORTS.haproxy}
  acl admin path_reg ^/admin/[a-z]+$
  acl public path_reg ^/public/v[0-9]+/.*$
  http-request deny deny_status 403 unless METH_GET public or METH_POST admin
  default_backend server
backend server
  server s 127.0.0.1:${SERVER}
`;

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

async function load(name: Name, pid: number | undefined, connections: number, seconds: number): Promise<Sample> {
  const before = pid === undefined ? 0 : cpuOf(pid);
  const url = `http://127.0.0.1:${PORTS[name]}/public/v1/thing`;
  const { rate, count, p99 } = await runWrk({ core: LOAD_CORE, connections, seconds, url });
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

function isInstalled(program: string): boolean {
  try {
    execFileSync("which", [program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** HTTP policy by method and path through the proxy, and the same rules elsewhere. Keep-alive, small answers, one core for proxy and server. */
export const benchmark: Benchmark = {
  name: "http-proxy",
  about: "requests through the L7 proxy, against HAProxy (and nginx, if there) with the same rules (needs wrk and haproxy)",
  async run(progress): Promise<Row[]> {
    const directory = mkdtempSync(join(tmpdir(), "cilium-bench-"));
    const children = new Map<string, ChildProcess>();
    const start = (name: string, ...command: readonly string[]) =>
      children.set(name, spawn("taskset", ["-c", PROXY_CORE, ...command], { stdio: "ignore" }));
    const file = (name: string, text: string) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const probes = { ours: new URL("probe/http-proxy.ts", import.meta.url), node: new URL("probe/node-http-proxy.ts", import.meta.url) };
    try {
      start("server", "haproxy", "-f", file("server", HAPROXY_SERVER));
      start("haproxy", "haproxy", "-f", file("policy", HAPROXY_POLICY));
      start("ours", process.execPath, probes.ours.pathname, String(PORTS.ours), String(SERVER));
      start("node", process.execPath, probes.node.pathname, String(PORTS.node), String(SERVER));
      if (isInstalled("nginx")) start("nginx", "nginx", "-c", file("nginx", nginxPolicy(directory)));
      const names = (Object.keys(PORTS) as Name[]).filter((name) => name === "direct" || children.has(name));
      for (const name of names) await untilOpen(PORTS[name]);
      const pids = new Map(names.map((name) => [name, children.get(name)?.pid]));
      return [...(await compare(1, pids, progress)), ...(await compare(32, pids, progress))];
    } finally {
      for (const child of children.values()) child.kill("SIGKILL");
      rmSync(directory, { recursive: true });
    }
  },
};

/** Rounds in turn, so that whatever else the machine does meets all of them; the medians are compared. */
async function compare(connections: number, pids: ReadonlyMap<Name, number | undefined>, progress: (text: string) => void): Promise<Row[]> {
  const samples = new Map<Name, Sample[]>();
  // Engines that compile as they go are measured when they have.
  for (const name of ["ours", "node"] as const) await load(name, pids.get(name), connections, WARM_SECONDS);
  for (let round = 1; round <= ROUNDS; round++) {
    progress(`${connections} connections, round ${round} of ${ROUNDS}`);
    for (const [name, pid] of pids) samples.set(name, [...(samples.get(name) ?? []), await load(name, pid, connections, SECONDS)]);
  }
  const median = (name: Name, what: keyof Sample) =>
    quantile(
      (samples.get(name) ?? []).map((sample) => sample[what]),
      0.5,
    );
  const row = (what: keyof Sample, unit: string, peer: Name, peerName: string): Row => ({
    name: `http-proxy/${connections}-${what}${peer === "haproxy" ? "" : `-of-${peer}`}`,
    ...{ unit, ours: median("ours", what), peer: median(peer, what), peerName },
  });
  const rate = `${Math.round(1e6 / median("ours", "request"))} requests/s`;
  return [
    { ...row("request", "us/request", "haproxy", "HAProxy"), goal: 1, note: rate },
    { ...row("cpu", "us/request", "haproxy", "HAProxy"), goal: 1, note: "processor time of the proxy" },
    row("p99", "us", "haproxy", "HAProxy"),
    ...(pids.has("nginx") ? [row("request", "us/request", "nginx", "nginx"), row("cpu", "us/request", "nginx", "nginx")] : []),
    row("request", "us/request", "node", "Node's http"),
    row("cpu", "us/request", "node", "Node's http"),
    row("request", "us/request", "direct", "no proxy"),
  ];
}
