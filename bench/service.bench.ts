import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { encodeConfig } from "#datapath/gen/config.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import { createMaglevTables } from "#datapath/reconcile/maglev.ts";
import { createServiceTarget, type ServiceMaps } from "#datapath/reconcile/services.ts";
import type { CgroupHook, LoadedObject } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import type { SliceInput } from "#loadbalancer/backends.ts";
import { createMaglev } from "#loadbalancer/maglev.ts";
import type { ServiceInput } from "#loadbalancer/service.ts";
import { type Backend, l4Address } from "#loadbalancer/types.ts";
import { createLoadBalancer, type LoadBalancer } from "#loadbalancer/writer.ts";
import { createDatabase } from "#statedb/database.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { buildProbe } from "./probe/build.ts";
import { iptablesRules, nftablesRules } from "./probe/kube-proxy-rules.ts";
import { createPlainRouting, type PlainRouting } from "./probe/plain-routing.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

const SIZES = [10, 1_000, 10_000, 30_000];
/** Connections of a turn, and turns: few and many, so that what else the machine does meets both sides of a comparison. */
const CONNECTS = 50;
const TURNS = 500;
const ROUNDS = 3;
const BACKEND_PORT = 7100;
const CHANGES = 300;

const serviceIp = (i: number) => `10.${96 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) + 1}`;

function objectsOf(count: number, backend: string): { services: ServiceInput[]; slices: SliceInput[] } {
  const names = Array.from({ length: count }, (_, i) => `service-${i}`);
  return {
    services: names.map((name, i) => ({
      metadata: { namespace: "bench", name },
      spec: { clusterIPs: [serviceIp(i)], ports: [{ port: 80 }] },
    })),
    slices: names.map((name) => sliceOf(name, [backend])),
  };
}

function sliceOf(service: string, addresses: readonly string[]): SliceInput {
  return {
    metadata: { namespace: "bench", name: `${service}-1`, labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    endpoints: addresses.map((address) => ({ addresses: [address] })),
    ports: [{ name: "", port: BACKEND_PORT }],
  };
}

/** The load balancer of one node, with maps of the kernel that nobody else sees. */
interface World {
  readonly object: LoadedObject;
  readonly balancer: LoadBalancer;
  readonly target: ServiceMaps;
  /** Everything stale, into tables and maps. */
  sync(): void;
  /** Milliseconds of the last `sync` that went into the maps. */
  readonly written: number;
}

function openWorld(): World {
  const bpf = openBpf();
  const object = bpf.load(new URL("../bpf/bpf_sock.o", import.meta.url).pathname, {
    config: { ".rodata.config": encodeConfig("bpf_sock", { traceSock: 0 }) },
  });
  const kernel = {
    services: bpf.createMap(specs.ciliumLbServices),
    backends: bpf.createMap(specs.ciliumLbBackends),
    reverseNat: bpf.createMap(specs.ciliumLbReverseNat),
    sourceRanges: bpf.createMap(specs.ciliumLbSourceRange),
    affinityMatch: bpf.createMap(specs.ciliumLbAffinityMatch),
  };
  const shared = { ...kernel, services: object.map(specs.ciliumLbServices), backends: object.map(specs.ciliumLbBackends) };
  const maglev = createMaglevTables({ map: bpf.createMapOfMaps(specs.ciliumLbMaglev), expedite: (work) => work() }, 16_381);
  const place = () => ({ nodeName: "node" });
  const target = createServiceTarget(shared, maglev, {
    algorithm: "random",
    mode: "snat",
    externalClusterIp: false,
    maglevSize: 16_381,
    place,
  });
  const balancer = createLoadBalancer(createDatabase(), { nodeName: "node", nodeLabels: () => ({}), nodeAddresses: () => [] });
  const changes = balancer.tables.frontends.observe();
  let written = 0;
  const sync = () => {
    balancer.refresh();
    const rows = changes.take().flatMap(({ row }) => row ?? []);
    const begun = performance.now();
    for (let at = 0; at < rows.length; at += 1000) target.updateMany(rows.slice(at, at + 1000));
    written = performance.now() - begun;
  };
  return {
    object,
    balancer,
    target,
    sync,
    get written() {
      return written;
    },
  };
}

/** Connects when it is told to. */
interface Caller extends AsyncDisposable {
  /** Nanoseconds of connect(), the median of one turn. */
  turn(): Promise<number>;
}

function startCaller(prefix: readonly string[], address: string, port: number): Caller {
  const [command = "", ...args] = [...prefix, buildProbe("connect"), "to", address, String(port), String(CONNECTS)];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "close");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async turn() {
      child.stdin.write("\n");
      const { value, done } = await lines.next();
      if (done) throw new Error(`nobody answers at ${address}:${port}`);
      return Number(value);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}

/** The turns of each, taken one after the other. */
async function inTurn(...callers: readonly Caller[]): Promise<number[][]> {
  const turns: number[][] = callers.map(() => []);
  for (let i = 0; i < TURNS; i++) for (const [who, caller] of callers.entries()) turns[who]?.push(await caller.turn());
  return turns;
}

/** What a turn takes while nobody else wants the processor or its caches. */
function quiet(turns: readonly number[]): number {
  return quantile(turns, 0.1);
}

/** A peer's rules in the routing namespace; undefined when its tool is not on this machine. */
async function withRules(
  tool: readonly string[],
  rules: string,
  flush: readonly string[],
  measure: () => Promise<number>,
): Promise<number | undefined> {
  const inRouter = (command: readonly string[], input = "") =>
    execFileSync("ip", ["netns", "exec", "cilia-bench-router", ...command], { input, stdio: ["pipe", "ignore", "ignore"] });
  try {
    inRouter([tool[0] ?? "", "--version"]);
  } catch {
    return undefined;
  }
  inRouter(tool, rules);
  try {
    return await measure();
  } finally {
    inRouter(flush);
  }
}

/** Runs a command with our programs on its sockets. */
function attachSockets(object: LoadedObject): { readonly prefix: readonly string[] } & Disposable {
  const directory = join(findCgroup2() ?? "", `cilia-bench-${process.pid}`);
  mkdirSync(directory, { recursive: true });
  const bpf = openBpf();
  const hooks: Readonly<Record<string, CgroupHook>> = { cil_sock4_connect: "connect4", cil_sock4_getpeername: "getpeername4" };
  const links = Object.entries(hooks).map(([program, hook]) => bpf.attachCgroup(object.program(program), directory, hook));
  return {
    prefix: ["sh", "-c", `echo $$ > ${directory}/cgroup.procs; exec "$@"`, "sh"],
    [Symbol.dispose]() {
      for (const link of links) link.close();
      rmdirSync(directory);
    },
  };
}

async function connectRows(routing: PlainRouting, progress: (text: string) => void): Promise<Row[]> {
  const [command = "", ...args] = [...routing.server, buildProbe("connect"), "serve", String(BACKEND_PORT)];
  const server = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout, "data");
  const world = openWorld();
  using sockets = attachSockets(world.object);
  const rows: Row[] = [];
  try {
    for (const size of SIZES) {
      progress(`connect at ${size} services`);
      const { services, slices } = objectsOf(size, routing.serverAddress);
      world.balancer.services.replace(services);
      world.balancer.slices.replace(slices);
      world.sync();
      const vip = serviceIp(size >> 1);
      const ruled = services.map((_, i) => ({ ip: serviceIp(i), port: 80, backend: routing.serverAddress, backendPort: BACKEND_PORT }));
      await using direct = startCaller(routing.client, routing.serverAddress, BACKEND_PORT);
      await using ours = startCaller([...sockets.prefix, ...routing.client], vip, 80);
      await using peer = startCaller(routing.client, vip, 80);
      const [without = [], translated = []] = await inTurn(direct, ours);
      const peerAdds = async () => quiet((await inTurn(peer))[0] ?? []) - quiet(without);
      const nft = await withRules(["nft", "-f", "-"], nftablesRules(ruled), ["nft", "flush", "ruleset"], peerAdds);
      const iptables = await withRules(["iptables-legacy-restore"], iptablesRules(ruled), ["iptables-legacy-restore"], peerAdds);
      if (size === SIZES[0] && (nft === undefined || iptables === undefined))
        progress(
          `not on this machine, so not compared with: ${[nft ?? "nft", iptables ?? "iptables-legacy"].filter((one) => typeof one === "string").join(", ")}`,
        );
      const apart = translated.map((time, i) => time - (without[i] ?? time));
      rows.push(...sizeRows(size, { direct: quiet(without), ours: quiet(translated) - quiet(without), apart, nft, iptables }));
      await withRules(["iptables-legacy-restore"], "*nat\nCOMMIT\n", ["true"], async () => 0);
    }
  } finally {
    server.kill();
    world.object.close();
  }
  return rows;
}

/** Nanoseconds. All but the first are on top of it. */
interface Times {
  readonly direct: number;
  readonly ours: number;
  /** Turn by turn: each against the turn without a service just before it. */
  readonly apart: readonly number[];
  readonly nft: number | undefined;
  readonly iptables: number | undefined;
}

/** What a service adds to a connection: nobody can be quicker than without one, so the least that is counted is a tenth of a microsecond. */
function sizeRows(size: number, { direct, ours, apart, nft, iptables }: Times): Row[] {
  const added = (time: number) => Math.max(0.1, time / 1000);
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => (quantile(apart, share) / 1000).toFixed(1));
  const busy = `turn by turn, others' work in between: ${middle}, half of them ${low} to ${high}`;
  const note = `connect() p50 over direct, ${(direct / 1000).toFixed(1)} us, in the quietest tenth of ${TURNS} turns; ${busy}`;
  const base = { name: `service/connect-added-${size}`, unit: "us", ours: added(ours) };
  const against = (peerName: string, peer: number | undefined, goal: number): Row[] =>
    peer === undefined ? [] : [{ ...base, peer: added(peer), peerName, goal }];
  return [
    { ...base, goal: 1, note },
    ...against("kube-proxy nftables", nft, 1),
    ...against("kube-proxy iptables", iptables, size >= 30_000 ? 0.1 : 1),
  ];
}

/** Processor time of this thread, milliseconds: what other programs do meanwhile is not in it. */
function threadTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function programRows(): Row[] {
  const { services, slices } = objectsOf(30_000, "10.99.1.2");
  const fill = () => {
    const world = openWorld();
    const [begun, used] = [performance.now(), threadTime()];
    world.balancer.services.replace(services);
    world.balancer.slices.replace(slices);
    world.sync();
    return { world, programmed: performance.now() - begun, cpu: threadTime() - used };
  };
  const fills = Array.from({ length: ROUNDS }, (_, i) => {
    const { world, programmed, cpu } = fill();
    const inMaps = world.written;
    if (i < ROUNDS - 1) world.object.close();
    return { world, programmed, cpu, inMaps };
  });
  const world = fills.at(-1)?.world ?? openWorld();
  const { programmed, cpu, inMaps } = fills.reduce((best, one) => (one.programmed < best.programmed ? one : best));
  const change = (i: number): readonly [whole: number, inMaps: number] => {
    const changed = performance.now();
    world.balancer.slices.upsert(sliceOf(`service-${(i * 59) % 30_000}`, ["10.99.1.2", `10.99.2.${(i % 250) + 1}`]));
    world.sync();
    return [performance.now() - changed, world.written];
  };
  const rounds = Array.from({ length: ROUNDS }, (_, round) => Array.from({ length: CHANGES }, (__, i) => change(round * CHANGES + i)));
  world.object.close();
  const least = (part: 0 | 1, share: number) =>
    Math.min(
      ...rounds.map((one) =>
        quantile(
          one.map((times) => times[part]),
          share,
        ),
      ),
    );
  const note = `one slice's change, of 30,000 services; the least of ${ROUNDS} rounds`;
  return [
    {
      name: "service/program-30k",
      unit: "ms",
      ours: programmed,
      goal: 1_000,
      note: `from objects; ${inMaps.toFixed(0)} ms of it in the maps; ${cpu.toFixed(0)} ms of the thread's processor time`,
    },
    { name: "service/change-one-p50", unit: "ms", ours: least(0, 0.5), note },
    { name: "service/change-one-p99", unit: "ms", ours: least(0, 0.99), goal: 1, note },
    { name: "service/change-one-in-maps-p99", unit: "ms", ours: least(1, 0.99), goal: 1, note },
  ];
}

function maglevRows(): Row[] {
  const backends = (count: number): Backend[] =>
    Array.from({ length: count }, (_, i) => ({ address: l4Address(`10.244.0.${i}`, 8080, "TCP"), state: "active" }));
  const moved = (size: number, count: number) => {
    const [all, left] = [backends(count), backends(count).slice(1)];
    const [before, after] = [createMaglev(size).table(all), createMaglev(size).table(left)];
    const changed = before.filter((one, place) => all[one]?.address.ip !== left[after[place] ?? -1]?.address.ip).length;
    return (changed / size) * count;
  };
  const maglev = createMaglev(16_381);
  const shares = new Uint32Array(100);
  for (const one of maglev.table(backends(100))) shares[one] = (shares[one] ?? 0) + 1;
  const times = Array.from({ length: 20 }, () => {
    const begun = performance.now();
    maglev.table(backends(100));
    return performance.now() - begun;
  });
  return [
    {
      name: "service/maglev-share",
      unit: "%",
      ours: Math.max(...Array.from(shares, (share) => Math.abs((share * 100) / maglev.size - 1))) * 100,
      goal: 2,
      note: "farthest from the ideal share, 100 backends, 16,381 places",
    },
    ...(
      [
        [16_381, 3],
        [16_381, 10],
        [16_381, 20],
        [16_381, 42],
        [16_381, 100],
        [65_521, 100],
      ] as const
    ).map(([size, count]) => ({
      name: `service/maglev-moved-${count}${size === 16_381 ? "" : `-of-${size}`}`,
      unit: "1/N",
      ours: moved(size, count),
      goal: 1.2,
      note: `places of ${size} that move when one backend leaves`,
    })),
    { name: "service/maglev-build", unit: "ms", ours: quantile(times, 0.5), goal: 3, note: "100 backends" },
  ];
}

function memoryRow(): Row {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().heapUsed;
  const world = openWorld();
  const { services, slices } = objectsOf(10_000, "10.99.1.2");
  world.balancer.services.replace(services);
  world.balancer.slices.replace(slices);
  world.sync();
  collect();
  const used = (process.memoryUsage().heapUsed - before) / 1e6;
  world.object.close();
  return {
    name: "service/memory-10k",
    unit: "MB",
    ours: used,
    note: "heap of 10,000 services with one endpoint: objects, tables, what is in the maps",
  };
}

/** Services: what a connection costs, what a change costs, how fair Maglev is. Peers need `nft` and `iptables-legacy-restore` on PATH. */
export const benchmark: Benchmark = {
  name: "service",
  about: "services: connect latency beside kube-proxy's rules, time to program and to change, Maglev, memory",
  async run(progress): Promise<Row[]> {
    progress("30,000 services into the kernel");
    const rows = [...programRows(), ...maglevRows(), memoryRow()];
    using routing = createPlainRouting();
    return [...rows, ...(await connectRows(routing, progress))];
  },
};
