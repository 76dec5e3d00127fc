import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { DropReason } from "#datapath/gen/enums.ts";
import { buildPacket } from "#packet/build.ts";
import { internetChecksum } from "#packet/checksum.ts";
import type { IpAddress } from "#types/addr.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { CLIENT, families, HOST, OTHER, outside, type Place, remoteNode, remotePod, SERVER, tcp, thisNode, WORLD } from "./words.ts";

const PORTS = [40000, 80] as const;

describe("delivery", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    for (const family of families) {
      datapath.maps.know(remotePod[family], OTHER, remoteNode[family]);
      datapath.maps.know(remoteNode[family], 6);
      datapath.maps.know(thisNode[family], HOST);
    }
  });
  after(() => datapath[Symbol.asyncDispose]());

  for (const family of families) {
    const ttl = (n: number, from: Place, to: Place) => {
      const spec = tcp(from, to, family, PORTS);
      return { ...spec, ip: { ...spec.ip, ttl: n } };
    };

    it(`to a pod here: its MACs, one hop less, a right checksum: ${family}`, async () => {
      const outcome = await datapath.fromPod(client, ttl(64, client, server));
      assert.equal(outcome.verdict, "redirect");
      assert.deepEqual(outcome.traces, ["FROM_ENDPOINT", "TO_ENDPOINT"]);
      assert.equal(outcome.packet.ethernet?.destination, server.mac);
      assert.equal(outcome.packet.ethernet?.source, server.nodeMac);
      assert.equal(outcome.packet.ip?.ttl, 63);
      if (family === "ipv4") assert.equal(internetChecksum(outcome.bytes.subarray(14, 34)), 0);
    });

    it(`the header checksum survives every TTL: ${family}`, async () => {
      for (let n = 2; n <= 255; n++) {
        const bytes = buildPacket({ ...ttl(n, client, server), ethernet: { source: client.mac, destination: client.nodeMac } });
        const out = datapath.runFast("cil_from_container", bytes, { ifindex: client.ifindex });
        if (family === "ipv4") assert.equal(internetChecksum(out.bytes.subarray(14, 34)), 0, `TTL ${n}`);
        assert.equal(out.bytes[family === "ipv4" ? 22 : 21], n - 1);
      }
      await datapath.settle();
    });

    it(`to another node: out of the node's device, one hop less: ${family}`, async () => {
      const outcome = await datapath.fromPod(client, ttl(64, client, remotePod));
      assert.equal(outcome.verdict, "redirect");
      assert.deepEqual(outcome.traces, ["FROM_ENDPOINT", "TO_NETWORK"]);
      assert.equal(outcome.packet.ip?.ttl, 63);
      assert.equal(outcome.events.at(-1)?.dstId, OTHER);
    });

    it(`to this node and to the world: by the stack, untouched: ${family}`, async () => {
      for (const [to, point, identity] of [
        [thisNode, "TO_HOST", HOST],
        [outside, "TO_STACK", WORLD],
        [remoteNode, "TO_STACK", 6],
      ] as const) {
        const outcome = await datapath.fromPod(client, ttl(64, client, to));
        assert.equal(outcome.verdict, "pass");
        assert.deepEqual(outcome.traces, ["FROM_ENDPOINT", point]);
        assert.equal(outcome.packet.ip?.ttl, 64);
        assert.equal(outcome.events.at(-1)?.dstId, identity);
      }
    });

    it(`at its last hop a packet goes to the stack, which tells the sender: ${family}`, async () => {
      for (const to of [server, remotePod]) {
        const outcome = await datapath.fromPod(client, ttl(1, client, to));
        assert.deepEqual([outcome.verdict, outcome.traces.at(-1)], ["pass", "TO_STACK"]);
        assert.equal(outcome.packet.ip?.ttl, 1);
      }
      assert.equal((await datapath.fromNetwork(ttl(1, remotePod, client))).verdict, "pass");
    });

    it(`from the network: to the pod, with the sender's identity: ${family}`, async () => {
      for (const [from, identity] of [
        [remotePod, OTHER],
        [remoteNode, 6],
        [outside, WORLD],
      ] as const) {
        const outcome = await datapath.fromNetwork(ttl(64, from, client));
        assert.equal(outcome.verdict, "redirect");
        assert.deepEqual(outcome.traces, ["FROM_NETWORK", "TO_ENDPOINT"]);
        assert.equal(outcome.packet.ethernet?.destination, client.mac);
        assert.equal(outcome.packet.ip?.ttl, 63);
        assert.deepEqual([outcome.events.at(-1)?.srcId, outcome.events.at(-1)?.dstLxcId], [identity, client.lxcId]);
      }
    });

    it(`what is not for a pod of this node passes the device untouched and unseen: ${family}`, async () => {
      for (const to of [thisNode, remotePod, outside]) {
        const outcome = await datapath.fromNetwork(ttl(64, outside, to));
        assert.deepEqual([outcome.verdict, outcome.events.length, outcome.packet.ip?.ttl], ["pass", 0, 64]);
      }
    });

    it(`prefixes: the longest wins, an exact address wins over all: ${family}`, async () => {
      const text = (v4: string, v6: string) => (family === "ipv4" ? v4 : v6) as IpAddress;
      datapath.maps.knowPrefix(text("198.18.112.0", "2001:db8:1::"), family === "ipv4" ? 20 : 48, 16777217);
      datapath.maps.knowPrefix(text("198.18.112.128", "2001:db8:1:8000::"), family === "ipv4" ? 25 : 49, 16777218);
      datapath.maps.know(text("198.18.112.200", "2001:db8:1:8000::200"), 16777219);
      const identityOf = async (v4: string, v6: string) => {
        const to = { [family]: text(v4, v6) } as unknown as Place;
        return (await datapath.fromPod(client, tcp(client, to, family, PORTS))).events.at(-1)?.dstId;
      };
      assert.equal(await identityOf("198.18.112.1", "2001:db8:1::1"), 16777217);
      assert.equal(await identityOf("198.18.112.129", "2001:db8:1:8000::1"), 16777218);
      assert.equal(await identityOf("198.18.112.200", "2001:db8:1:8000::200"), 16777219);
      assert.equal(await identityOf("198.18.128.1", "2001:db8:2::1"), WORLD);
    });
  }

  it("IPv6 to a node known by an IPv4 address goes by the stack", async () => {
    const far = { ...remotePod, ipv6: "fd00:10:244:2::99" as IpAddress };
    datapath.maps.know(far.ipv6, OTHER, remoteNode.ipv4);
    assert.equal((await datapath.fromPod(client, tcp(client, far, "ipv6", PORTS))).verdict, "pass");
  });

  it("without a device to other nodes everything remote goes by the stack", async () => {
    await using lone = openDatapath({ nodeIfindex: 0 });
    const a = lone.addPod("a", CLIENT);
    lone.maps.know(remotePod.ipv4, OTHER, remoteNode.ipv4);
    const outcome = await lone.fromPod(a, tcp(a, remotePod, "ipv4", PORTS));
    assert.deepEqual([outcome.verdict, outcome.traces.at(-1)], ["pass", "TO_STACK"]);
  });

  it("metrics count packets and bytes by outcome and direction", async () => {
    const [forwarded, denied] = [() => datapath.metric(0, 2), () => datapath.metric(DropReason.POLICY_DENIED, 1)];
    const before = [forwarded(), denied()];
    await datapath.fromPod(client, tcp(client, server, "ipv4", PORTS));
    datapath.maps.setPolicy(server, { ingress: [] });
    await datapath.fromPod(client, tcp(client, server, "ipv4", [41000, 81]));
    datapath.maps.setPolicy(server, {});
    const after = [forwarded(), denied()];
    assert.deepEqual(
      after.map((n, i) => [n.count - (before[i]?.count ?? 0n), n.bytes - (before[i]?.bytes ?? 0n)]),
      [
        [1n, 54n],
        [1n, 54n],
      ],
    );
  });
});
