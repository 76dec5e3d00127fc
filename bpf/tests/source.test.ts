import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { buildPacket, macOf, type PacketSpec } from "#packet/build.ts";
import { internetChecksum, transportChecksum } from "#packet/checksum.ts";
import type { IpAddress } from "#types/addr.ts";
import { macToBytes } from "#types/mac.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { CLIENT, families, HOST, icmp, outside, remotePod, SERVER, tcp, thisNode, udp } from "./words.ts";

const PORTS = [40000, 80] as const;

function arp(pod: Pod, change: { operation?: number; senderIp?: string; senderMac?: Pod["mac"]; target?: string } = {}): Uint8Array {
  const octets = (text: string): number[] => text.split(".").map(Number);
  const mac = [...macToBytes(change.senderMac ?? pod.mac)];
  return Uint8Array.from([
    ...new Array(6).fill(0xff),
    ...mac,
    ...[8, 6, 0, 1, 8, 0, 6, 4, 0, change.operation ?? 1],
    ...mac,
    ...octets(change.senderIp ?? pod.ipv4),
    ...[0, 0, 0, 0, 0, 0],
    ...octets(change.target ?? "169.254.1.1"),
  ]);
}

/** A neighbour discovery message: type, target and, for solicitations, the sender's MAC as an option. */
function neighbor(pod: Pod, type: number, change: { source?: string; target?: string; ttl?: number; option?: boolean } = {}): PacketSpec {
  const source = (change.source ?? pod.ipv6) as IpAddress;
  const target = buildPacket({ ip: { source, destination: (change.target ?? "fe80::1") as IpAddress } }).subarray(24, 40);
  const option = change.option === false ? [] : [1, 1, ...macToBytes(pod.mac)];
  return {
    ip: { source, destination: "ff02::1:ff00:1" as IpAddress, ttl: change.ttl ?? 255 },
    icmp: { type },
    payload: Uint8Array.from([...target, ...option]),
  };
}

describe("what a pod may send as itself", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    for (const family of families) datapath.maps.know(thisNode[family], HOST);
  });
  after(() => datapath[Symbol.asyncDispose]());

  for (const family of families) {
    it(`another's address is refused, whoever's: ${family}`, async () => {
      for (const other of [server, thisNode, outside, remotePod]) {
        assert.equal((await datapath.fromPod(client, tcp(other, server, family, PORTS))).reason, "INVALID_SOURCE_IP");
      }
      const loopback = { ipv4: "127.0.0.1" as IpAddress, ipv6: "::1" as IpAddress };
      assert.equal((await datapath.fromPod(client, tcp(loopback, server, family, PORTS))).reason, "INVALID_SOURCE_IP");
    });

    it(`another's MAC is refused: ${family}`, async () => {
      const spec = tcp(client, server, family, PORTS);
      assert.equal((await datapath.fromPod(client, { ...spec, ethernet: { source: server.mac } })).reason, "INVALID_SOURCE_MAC");
    });

    it(`a mark on the packet opens no door to another pod: ${family}`, async () => {
      datapath.maps.setPolicy(server, { ingress: [] });
      for (const mark of [0xa00, 0xb00, 0xe00, 0x100]) {
        assert.equal((await datapath.fromPod(client, tcp(client, server, family, PORTS), mark)).reason, "POLICY_DENIED");
      }
      // The mark of the way to the proxy is only ever ours; without a proxy socket it leads nowhere.
      assert.equal((await datapath.fromPod(client, tcp(client, server, family, PORTS), 0x200)).reason, "SOCKET_LOOKUP_FAILED");
      datapath.maps.setPolicy(server, {});
    });

    it(`the network may not speak for this node or its pods: ${family}`, async () => {
      for (const other of [server, thisNode]) {
        assert.equal((await datapath.fromNetwork(tcp(other, client, family, PORTS))).reason, "INVALID_SOURCE_IP");
      }
    });

    it(`a pod that is not ready gets and sends nothing: ${family}`, async () => {
      const veth = datapath.maps.veth.get(client.ifindex);
      if (!veth) throw new Error("no veth");
      datapath.maps.veth.set(client.ifindex, { ...veth, flags: 1 });
      assert.equal((await datapath.fromPod(client, tcp(client, server, family, PORTS))).reason, "EP_NOT_READY");
      assert.equal((await datapath.toPod(client, tcp(thisNode, client, family, PORTS))).reason, "EP_NOT_READY");
      datapath.maps.veth.delete(client.ifindex);
      assert.equal((await datapath.fromPod(client, tcp(client, server, family, PORTS))).reason, "EP_NOT_READY", "unknown veth");
      assert.equal((await datapath.toPod(client, tcp(thisNode, client, family, PORTS))).reason, "EP_NOT_READY", "unknown veth");
      datapath.maps.veth.set(client.ifindex, veth);

      const config = datapath.maps.policyConfig.get(server.lxcId);
      if (!config) throw new Error("no configuration");
      datapath.maps.policyConfig.set(server.lxcId, { ...config, generation: 0 });
      assert.equal((await datapath.fromPod(client, tcp(client, server, family, PORTS))).reason, "EP_NOT_READY", "receiver without policy");
      assert.equal((await datapath.fromNetwork(tcp(remotePod, server, family, PORTS))).reason, "EP_NOT_READY", "from the network too");
      datapath.maps.policyConfig.set(server.lxcId, { ...config, ingressEnforced: 1 });
      datapath.maps.policy.delete(server.lxcId);
      assert.equal(
        (await datapath.fromPod(client, tcp(client, server, family, PORTS))).reason,
        "EP_NOT_READY",
        "configuration without a policy map",
      );
      datapath.maps.setPolicy(server, {});
    });
  }

  it("only IP and ARP pass", async () => {
    for (const etherType of [0x88cc, 0x8847, 0x8863, 0x0000]) {
      const spec = tcp(client, server, "ipv4", PORTS);
      assert.equal((await datapath.fromPod(client, { ...spec, ethernet: { etherType } })).reason, "UNSUPPORTED_L2_PROTOCOL");
    }
  });

  it("other transport protocols do not pass", async () => {
    for (const protocol of [4, 41, 47, 50, 51, 59, 58]) {
      const ip = { source: client.ipv4, destination: server.ipv4, protocol };
      assert.equal(
        (await datapath.fromPod(client, { ip, payload: "x".repeat(40) })).reason,
        "CT_UNKNOWN_L4_PROTOCOL",
        `protocol ${protocol}`,
      );
    }
  });

  it("an IPv6 packet cannot pose as IPv4", async () => {
    const source = buildPacket(udp(client, server, "ipv6", PORTS));
    source.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 244, 1, 11], 8);
    const frame = Uint8Array.from([...macToBytes(client.nodeMac), ...macToBytes(client.mac), 0x86, 0xdd, ...source]);
    assert.equal((await datapath.run("cil_from_container", frame, { ifindex: client.ifindex })).reason, "INVALID_PACKET");
  });

  it("a family that is off does not pass", async () => {
    await using only4 = openDatapath({ enableIpv6: 0 });
    const [a, b] = [only4.addPod("a", CLIENT), only4.addPod("b", SERVER)];
    assert.equal((await only4.fromPod(a, tcp(a, b, "ipv6", PORTS))).reason, "UNSUPPORTED_L3_PROTOCOL");
    assert.equal((await only4.fromPod(a, tcp(a, b, "ipv4", PORTS))).reason, undefined);
  });

  describe("ARP", () => {
    const send = (bytes: Uint8Array) => datapath.run("cil_from_container", bytes, { ifindex: client.ifindex });

    it("a request for any address but its own is answered with the host end's MAC", async () => {
      for (const target of ["169.254.1.1", server.ipv4, "198.51.100.1"]) {
        const outcome = await send(arp(client, { target }));
        assert.equal(outcome.verdict, "redirect");
        assert.deepEqual(outcome.packet.arp, {
          operation: 2,
          senderMac: client.nodeMac,
          senderIp: target,
          targetMac: client.mac,
          targetIp: client.ipv4,
        });
        assert.equal(outcome.packet.ethernet?.destination, client.mac);
      }
    });

    it("an announcement is swallowed without a record", async () => {
      const outcome = await send(arp(client, { target: client.ipv4 }));
      assert.deepEqual([outcome.verdict, outcome.events.length], ["drop", 0]);
    });

    it("its own answer reaches the stack; speaking for others does not", async () => {
      assert.equal((await send(arp(client, { operation: 2, target: thisNode.ipv4 }))).verdict, "pass");
      assert.equal((await send(arp(client, { senderIp: server.ipv4 }))).reason, "INVALID_SOURCE_IP");
      assert.equal((await send(arp(client, { operation: 2, senderIp: server.ipv4 }))).reason, "INVALID_SOURCE_IP");
      assert.equal((await send(arp(client, { senderMac: macOf(77) }))).reason, "INVALID_SOURCE_MAC");
      assert.equal((await send(arp(client).subarray(0, 30))).reason, "INVALID_PACKET");
    });
  });

  describe("IPv6 neighbour discovery", () => {
    it("a solicitation is answered with the host end's MAC, checksum and all", async () => {
      for (const option of [true, false]) {
        const outcome = await datapath.fromPod(client, neighbor(client, 135, { option }));
        assert.equal(outcome.verdict, "redirect");
        const { ip, icmp: message, payload, ethernet } = outcome.packet;
        assert.equal(ethernet?.destination, client.mac);
        assert.equal(ip?.source, "fe80::1");
        assert.equal(ip?.destination, client.ipv6);
        assert.equal(ip?.ttl, 255);
        assert.equal(message?.type, 136);
        assert.equal(outcome.bytes[58], 0xe0, "router, solicited, override");
        assert.deepEqual([...payload.subarray(16)], [2, 1, ...macToBytes(client.nodeMac)]);
        if (!ip) throw new Error("no IP");
        assert.equal(transportChecksum(ip, 58, outcome.bytes.subarray(54)), 0);
      }
    });

    it("duplicate address detection, router solicitations and group reports end here without a record", async () => {
      const quiet = [
        neighbor(client, 135, { source: "::", target: client.ipv6 }),
        neighbor(client, 135, { target: client.ipv6 }),
        neighbor(client, 133),
        neighbor(client, 143),
      ];
      for (const spec of quiet) {
        const outcome = await datapath.fromPod(client, spec);
        assert.deepEqual([outcome.verdict, outcome.events.length], ["drop", 0]);
      }
    });

    it("router advertisements and redirects are refused, and advertisements for others", async () => {
      assert.equal((await datapath.fromPod(client, neighbor(client, 134))).reason, "FORBIDDEN_ICMPV6_MESSAGE");
      assert.equal((await datapath.fromPod(client, neighbor(client, 137))).reason, "FORBIDDEN_ICMPV6_MESSAGE");
      assert.equal((await datapath.fromPod(client, neighbor(client, 136, { target: server.ipv6 }))).reason, "INVALID_SOURCE_IP");
      assert.equal((await datapath.fromPod(client, neighbor(client, 136, { target: client.ipv6 }))).verdict, "pass");
      assert.equal((await datapath.fromPod(client, neighbor(client, 135, { ttl: 64 }))).reason, "INVALID_PACKET");
    });

    it("the node's own questions reach the pod; nobody's come from the network", async () => {
      assert.equal((await datapath.toPod(client, icmp(thisNode, client, "ipv6", 135))).verdict, "pass");
      assert.equal((await datapath.fromNetwork(icmp(outside, client, "ipv6", 135))).reason, "FORBIDDEN_ICMPV6_MESSAGE");
    });
  });

  it("test packets have right checksums, or these tests would prove little", () => {
    const bytes = buildPacket(tcp(client, server, "ipv4", PORTS));
    assert.equal(internetChecksum(bytes.subarray(0, 20)), 0);
  });
});
