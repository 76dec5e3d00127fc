import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import type { Benchmark, Row } from "./row.ts";

const SERVER = 18080;
const PORTS = { haproxy: 18081, ours: 18082, direct: SERVER } as const;
const ROUNDS = 4;
const SECONDS = 2;
/** The load on one core, proxies and server on the other: the same for all. */
const [LOAD_CORE, PROXY_CORE] = ["0", "1"];

const HAPROXY = `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend server
  bind 127.0.0.1:${SERVER}
  http-request return status 200 content-type text/plain string "${"x".repeat(100)}"
`;

const HAPROXY_POLICY = `
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  http-reuse always
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend policy
  bind 127.0.0.1:${PORTS.haproxy}
  acl admin path_reg ^/admin/[a-z]+$
  acl public path_reg ^/public/v[0-9]+/.*$
  http-request deny deny_status 403 unless METH_GET public or METH_POST admin
  default_backend server
backend server
  server s 127.0.0.1:${SERVER}
`;

/** Microseconds a request: one over the rate, so that less is better. */
async function measure(port: number, connections: number): Promise<number> {
  const { stdout } = await promisify(execFile)("taskset", [
    ...["-c", LOAD_CORE, "wrk", "-t1", `-c${connections}`, `-d${SECONDS}s`],
    `http://127.0.0.1:${port}/public/v1/thing`,
  ]);
  const rate = Number(/Requests\/sec:\s+([0-9.]+)/.exec(stdout)?.[1]);
  if (!(rate > 0) || /Non-2xx/.test(stdout)) throw new Error(`wrk: ${stdout}`);
  return 1e6 / rate;
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

/** HTTP policy by method and path through the proxy, against HAProxy with the same rules. Keep-alive, small answers, one core for proxy and server. */
export const benchmark: Benchmark = {
  name: "http-proxy",
  about: "requests through the L7 proxy, against HAProxy with the same rules (needs wrk and haproxy)",
  async run(progress): Promise<Row[]> {
    const directory = mkdtempSync(join(tmpdir(), "cilium-bench-"));
    const children: ChildProcess[] = [];
    const start = (...command: readonly string[]) => {
      children.push(spawn("taskset", ["-c", PROXY_CORE, ...command], { stdio: "ignore" }));
    };
    try {
      for (const [name, text] of Object.entries({ server: HAPROXY, policy: HAPROXY_POLICY })) {
        writeFileSync(join(directory, name), text);
        start("haproxy", "-f", join(directory, name));
      }
      const probe = new URL("probe/http-proxy.ts", import.meta.url).pathname;
      start(process.execPath, probe, String(PORTS.ours), String(SERVER));
      for (const port of Object.values(PORTS)) await untilOpen(port);
      return [...(await compare(1, progress)), ...(await compare(32, progress))];
    } finally {
      for (const child of children) child.kill("SIGKILL");
      rmSync(directory, { recursive: true });
    }
  },
};

async function compare(connections: number, progress: (text: string) => void): Promise<Row[]> {
  const best = new Map<string, number>();
  for (let round = 1; round <= ROUNDS; round++) {
    progress(`${connections} connections, round ${round} of ${ROUNDS}`);
    for (const [name, port] of Object.entries(PORTS)) {
      best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, await measure(port, connections)));
    }
  }
  const figure = (name: keyof typeof PORTS) => best.get(name) ?? Number.NaN;
  const row = (name: string, ours: number, peer: number, peerName: string): Row => ({
    ...{ name: `http-proxy/${connections}${name}`, unit: "us/request", ours, peer, peerName },
  });
  return [
    { ...row("", figure("ours"), figure("haproxy"), "HAProxy"), goal: 1.25, note: `${Math.round(1e6 / figure("ours"))} requests/s` },
    row("-of-direct", figure("ours"), figure("direct"), "no proxy"),
  ];
}
