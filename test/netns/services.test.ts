import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createSocket, type Socket as Datagram } from "node:dgram";
import { createServer, type Server } from "node:net";
import { after, before, describe, it } from "node:test";
import { encodeConfig } from "#datapath/gen/config.ts";
import type { LoadedObject } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { createNetnsAt, deleteNetnsAt, type Netns, netnsCookie, openNetns } from "#sys/netns.ts";
import { datagram, listener } from "#sys/socket.ts";
import type { IpAddress } from "#types/addr.ts";
import { NodeMaps } from "../../bpf/tests/maps.ts";
import { ServiceMaps, type ServiceSpec } from "../../bpf/tests/service-maps.ts";
import { attachSocketHooks, makeCgroup, type TestCgroup } from "./socket-hooks.ts";

const [TCP, UDP] = [6, 17];
const [HOST, REMOTE_NODE] = [1, 6];
const NODE = { ipv4: "172.18.0.2" as IpAddress, ipv6: "fd00:172:18::2" as IpAddress };
const CLIENT = new URL("socket-client.pl", import.meta.url).pathname;
const families = [
  { name: "ipv4", service: "10.96.0.1" as IpAddress, backend: "127.0.0.1" as IpAddress },
  { name: "ipv6", service: "fd00:10:96::1" as IpAddress, backend: "::1" as IpAddress },
];

describe("services at the socket", () => {
  const name = `cbpfsvc${process.pid}`;
  const path = `/run/netns/${name}`;
  let netns: Netns;
  let cgroup: TestCgroup;
  let object: LoadedObject;
  let services: ServiceMaps;
  let maps: NodeMaps;
  const servers: (Server | Datagram)[] = [];

  before(async () => {
    createNetnsAt(path);
    netns = openNetns(path);
    execFileSync("nsenter", [`--net=${path}`, "ip", "link", "set", "lo", "up"]);
    cgroup = makeCgroup(name);
    object = openBpf().load(new URL("../../bpf/bpf_sock.o", import.meta.url).pathname, {
      config: { ".rodata.config": encodeConfig("bpf_sock", {}) },
    });
    attachSocketHooks(object, cgroup.path);
    // ringMap() is the one accessor that opens a map of any kind without a spec.
    const fds = Object.fromEntries(object.mapNames.map((map) => [map, object.ringMap(map).fd]));
    services = new ServiceMaps(fds);
    maps = new NodeMaps(fds);
    for (const { backend } of families) for (const port of [8001, 8002]) await serve(backend, port);
  });

  after(() => {
    for (const server of servers) server.close();
    services[Symbol.dispose]();
    maps[Symbol.dispose]();
    object.close();
    cgroup[Symbol.dispose]();
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
  function define(
    address: IpAddress,
    port: number,
    protocol: number,
    backend: IpAddress,
    ports: readonly number[],
    more: Partial<ServiceSpec> = {},
  ): void {
    services.set({ ip: address, port, protocol, backends: ports.map((to) => ({ ip: backend, port: to })), ...more });
  }

  /** Runs the client in the namespace and the cgroup; its lines. */
  function client(...args: readonly string[]): Promise<string[]> {
    const child = spawn("nsenter", [
      `--net=${path}`,
      "sh",
      "-c",
      `echo $$ > ${cgroup.path}/cgroup.procs && exec perl "$@"`,
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
      assert.deepEqual(await client("tcp", service, "90"), ["error: Connection refused"]);
      assert.deepEqual(await client("udp-unconnected", service, "90"), ["error: Connection refused"]);
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
      define(service, 92, TCP, backend, [8001, 8002], { affinitySeconds: 60 });
      assert.equal(new Set(await client("tcp", service, "92", "20")).size, 1);
    });

    it(`a client does not keep a backend that has left the service: ${family}`, async () => {
      define(service, 93, TCP, backend, [8001, 8002], { affinitySeconds: 60 });
      const [first] = await client("tcp", service, "93");
      const lost = first?.startsWith("tcp8001") ? 8001 : 8002;
      const left = lost === 8001 ? 8002 : 8001;
      define(service, 93, TCP, backend, [left], { affinitySeconds: 60 });
      assert.deepEqual(await client("tcp", service, "93"), [`tcp${left} from ${service} 93`]);
    });

    it(`a node port is there at every address of every node, and at loopback for the node's own programs: ${family}`, async () => {
      const any = (family === "ipv4" ? "0.0.0.0" : "::") as IpAddress;
      const own = (family === "ipv4" ? "172.18.0.2" : "fd00:172:18::2") as IpAddress;
      const other = (family === "ipv4" ? "172.18.0.9" : "fd00:172:18::9") as IpAddress;
      define(any, 30080, TCP, backend, [8001], { flags: ["ROUTABLE", "NODE_PORT"] });
      define(any, 30081, TCP, backend, [8001], { flags: ["ROUTABLE", "NODE_PORT", "EXTERNAL_LOCAL"] });
      define(any, 8880, TCP, backend, [8001], { flags: ["ROUTABLE", "HOST_PORT"] });
      maps.know(own, HOST);
      maps.know(other, REMOTE_NODE);
      assert.deepEqual(await client("tcp", own, "30080"), [`tcp8001 from ${own} 30080`]);
      assert.deepEqual(await client("tcp", other, "30080"), [`tcp8001 from ${other} 30080`]);
      // These are only where their backends are: another node's stay to that node, which is not there.
      for (const port of ["30081", "8880"]) {
        assert.deepEqual(await client("tcp", own, port), [`tcp8001 from ${own} ${port}`]);
        assert.match((await client("tcp", other, port))[0] ?? "", /^error: (Network is unreachable|No route)/);
      }
      define(backend, 8881, TCP, backend, [8001], { flags: ["ROUTABLE", "HOST_PORT"] });
      for (const port of ["30080", "30081", "8880", "8881"]) {
        assert.deepEqual(await client("tcp", backend, port), ["error: Connection refused"], "a pod's loopback is its own");
        services.setNode({ ...NODE, netnsCookie: netnsCookie(netns) });
        assert.deepEqual(await client("tcp", backend, port), [`tcp8001 from ${backend} ${port}`]);
        services.setNode(NODE);
      }
    });

    it(`a process of the node cannot take a node port, a pod can; a host port it can: ${family}`, async () => {
      const any = (family === "ipv4" ? "0.0.0.0" : "::") as IpAddress;
      define(any, 30090, TCP, backend, [8001], { flags: ["ROUTABLE", "NODE_PORT"] });
      define(any, 8890, TCP, backend, [8001], { flags: ["HOST_PORT"] });
      const bind = (port: number) => client("bind", backend, String(port));
      const bindAny = (port: number) => client("bind", any, String(port));
      assert.deepEqual(await bindAny(30090), ["bound"]);
      services.setNode({ ...NODE, netnsCookie: netnsCookie(netns) });
      assert.deepEqual(await bindAny(30090), ["error: Address already in use"]);
      assert.deepEqual(await bind(30090), ["error: Address already in use"], "loopback");
      for (const port of [30091, 8890]) assert.deepEqual(await bindAny(port), ["bound"]);
      services.setNode(NODE);
    });

    it(`the backend of a local redirect reaches the address itself: ${family}`, async () => {
      define(service, 94, TCP, backend, [8001], { flags: ["LOCAL_REDIRECT"] });
      assert.deepEqual(await client("tcp", service, "94"), [`tcp8001 from ${service} 94`]);
      services.skip(netnsCookie(netns), { ip: service, port: 94 }, TCP);
      assert.match((await client("tcp", service, "94"))[0] ?? "", /^error: (Network is unreachable|No route)/);
      define(service, 94, TCP, backend, [8002], { scope: 1 });
      assert.deepEqual(await client("tcp", service, "94"), [`tcp8002 from ${service} 94`], "what the service is without the redirect");
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
