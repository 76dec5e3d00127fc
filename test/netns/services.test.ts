import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createSocket, type Socket as Datagram } from "node:dgram";
import { mkdirSync, rmdirSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { encodeConfig } from "#datapath/gen/config.ts";
import { maps as specs } from "#datapath/gen/maps.ts";
import type { LbAffinityMatchKey, LbBackend, LbService, LbServiceKey } from "#datapath/gen/structs.ts";
import type { BpfMap, CgroupHook, LoadedObject } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { findCgroup2 } from "#sys/mount.ts";
import { createNetnsAt, deleteNetnsAt, type Netns, openNetns } from "#sys/netns.ts";
import { datagram, listener } from "#sys/socket.ts";
import { addressToBytes, type IpAddress } from "#types/addr.ts";

const [TCP, UDP] = [6, 17];
const CLIENT = new URL("socket-client.pl", import.meta.url).pathname;
const HOOKS: Readonly<Record<string, CgroupHook>> = {
  cil_sock4_connect: "connect4",
  cil_sock6_connect: "connect6",
  cil_sock4_sendmsg: "sendmsg4",
  cil_sock6_sendmsg: "sendmsg6",
  cil_sock4_recvmsg: "recvmsg4",
  cil_sock6_recvmsg: "recvmsg6",
  cil_sock4_getpeername: "getpeername4",
  cil_sock6_getpeername: "getpeername6",
};
const families = [
  { name: "ipv4", service: "10.96.0.1" as IpAddress, backend: "127.0.0.1" as IpAddress },
  { name: "ipv6", service: "fd00:10:96::1" as IpAddress, backend: "::1" as IpAddress },
];
const AFFINITY = 1;
const empty: LbService = { backendId: 0, serviceId: 0, affinityTimeout: 0, maglevSize: 0, count: 0, quarantined: 0, flags: 0 };

describe("services at the socket", () => {
  const name = `cbpfsvc${process.pid}`;
  const path = `/run/netns/${name}`;
  let netns: Netns;
  let cgroup: string;
  let object: LoadedObject;
  let services: BpfMap<LbServiceKey, LbService>;
  let backends: BpfMap<number, LbBackend>;
  let affinityMatch: BpfMap<LbAffinityMatchKey, number>;
  const servers: (Server | Datagram)[] = [];
  let nextId = 1;

  before(async () => {
    createNetnsAt(path);
    netns = openNetns(path);
    execFileSync("nsenter", [`--net=${path}`, "ip", "link", "set", "lo", "up"]);
    const root = findCgroup2();
    if (root === undefined) throw new Error("no cgroup v2 is mounted");
    cgroup = join(root, name);
    mkdirSync(cgroup);
    const bpf = openBpf();
    object = bpf.load(new URL("../../bpf/bpf_sock.o", import.meta.url).pathname, {
      config: { ".rodata.config": encodeConfig("bpf_sock", {}) },
    });
    for (const [program, hook] of Object.entries(HOOKS)) bpf.attachCgroup(object.program(program), cgroup, hook);
    services = object.map(specs.ciliumLbServices);
    backends = object.map(specs.ciliumLbBackends);
    affinityMatch = object.map(specs.ciliumLbAffinityMatch);
    for (const { backend } of families) for (const port of [8001, 8002]) await serve(backend, port);
  });

  after(() => {
    for (const server of servers) server.close();
    object.close();
    rmdirSync(cgroup);
    netns.close();
    deleteNetnsAt(path);
  });

  async function serve(host: IpAddress, port: number): Promise<void> {
    const tcp = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end(`tcp${port}`));
    });
    await new Promise<void>((resolve) => tcp.listen({ fd: listener({ host, port, netns }) }, resolve));
    const udp = createSocket(host.includes(":") ? "udp6" : "udp4");
    udp.on("message", (_, from) => udp.send(`udp${port}`, from.port, from.address));
    await new Promise<void>((resolve) => udp.bind({ fd: datagram({ host, port, netns }) }, resolve));
    servers.push(tcp, udp);
  }

  /** Defines a service; its backends are the ports of this machine. */
  function define(address: IpAddress, port: number, protocol: number, backend: IpAddress, ports: readonly number[], flags = 0): void {
    const key = { address: { bytes: addressToBytes(address) }, port, protocol, scope: 0 };
    const backendId = (to: number): number => to * 10 + (backend.includes(":") ? 6 : 4);
    const id = services.get({ ...key, slot: 0 })?.serviceId ?? nextId++;
    ports.forEach((to, i) => {
      backends.set(backendId(to), { address: { bytes: addressToBytes(backend) }, port: to, protocol, state: 0 });
      services.set({ ...key, slot: i + 1 }, { ...empty, backendId: backendId(to) });
    });
    services.set({ ...key, slot: 0 }, { ...empty, affinityTimeout: 60, count: ports.length, serviceId: id, flags });
    for (const { backendId: member } of [...affinityMatch.keys()].filter(({ serviceId }) => serviceId === id))
      affinityMatch.delete({ serviceId: id, backendId: member });
    for (const to of ports) affinityMatch.set({ serviceId: id, backendId: backendId(to) }, 1);
  }

  /** Runs the client in the namespace and the cgroup; its lines. */
  function client(...args: readonly string[]): Promise<string[]> {
    const child = spawn("nsenter", [
      `--net=${path}`,
      "sh",
      "-c",
      `echo $$ > ${cgroup}/cgroup.procs && exec perl "$@"`,
      "sh",
      CLIENT,
      ...args,
    ]);
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    return new Promise((resolve) => child.on("close", () => resolve(output.trim().split("\n"))));
  }

  for (const { name: family, service, backend } of families) {
    it(`TCP: a backend answers, the program sees the service: ${family}`, async () => {
      define(service, 80, TCP, backend, [8001]);
      assert.deepEqual(await client("tcp", service, "80"), [`tcp8001 from ${service} 80`]);
    });

    it(`UDP, connected and not: ${family}`, async () => {
      define(service, 53, UDP, backend, [8001]);
      assert.deepEqual(await client("udp", service, "53"), [`udp8001 from ${service} 53`]);
      assert.deepEqual(await client("udp-unconnected", service, "53"), [`udp8001 from ${service} 53`]);
    });

    it(`port and protocol are part of the service: ${family}`, async () => {
      define(service, 81, TCP, backend, [8001]);
      assert.match((await client("udp", service, "81"))[0] ?? "", /^error/);
      assert.match((await client("tcp", service, "82"))[0] ?? "", /^error/);
    });

    it(`a service without backends refuses at once: ${family}`, async () => {
      define(service, 90, TCP, backend, []);
      define(service, 90, UDP, backend, []);
      const started = performance.now();
      assert.deepEqual(await client("tcp", service, "90"), ["error: Connection refused"]);
      assert.deepEqual(await client("udp-unconnected", service, "90"), ["error: Connection refused"]);
      assert.ok(performance.now() - started < 900);
    });

    it(`every backend gets its share: ${family}`, async () => {
      define(service, 91, TCP, backend, [8001, 8002]);
      const answers = await client("tcp", service, "91", "60");
      for (const port of [8001, 8002]) {
        const share = answers.filter((line) => line.startsWith(`tcp${port}`)).length;
        assert.ok(share >= 12, `backend ${port} got ${share} of ${answers.length}`);
      }
    });

    it(`a service that keeps its clients: ${family}`, async () => {
      define(service, 92, TCP, backend, [8001, 8002], AFFINITY);
      assert.equal(new Set(await client("tcp", service, "92", "20")).size, 1);
    });

    it(`a client does not keep a backend that has left the service: ${family}`, async () => {
      define(service, 93, TCP, backend, [8001, 8002], AFFINITY);
      const [first] = await client("tcp", service, "93");
      const lost = first?.startsWith("tcp8001") ? 8001 : 8002;
      const left = lost === 8001 ? 8002 : 8001;
      define(service, 93, TCP, backend, [left], AFFINITY);
      assert.deepEqual(await client("tcp", service, "93"), [`tcp${left} from ${service} 93`]);
    });

    it(`what is no service goes where it was sent: ${family}`, async () => {
      assert.deepEqual(await client("tcp", backend, "8002"), [`tcp8002 from ${backend} 8002`]);
    });
  }

  it("an IPv6 socket reaches an IPv4 service", async () => {
    define("10.96.0.2" as IpAddress, 80, TCP, "127.0.0.1" as IpAddress, [8001]);
    assert.deepEqual(await client("tcp", "::ffff:10.96.0.2", "80"), ["tcp8001 from ::ffff:10.96.0.2 80"]);
  });
});
