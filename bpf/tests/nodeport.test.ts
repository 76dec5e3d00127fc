import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { buildPacket } from "#packet/build.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { caller, clusterIp, end, ends, line, NODE_PORT, nodePort, PORT, placeNode, TARGET, told, vip } from "./service-words.ts";
import {
  ACK,
  type Family,
  families,
  fragments,
  icmp,
  icmpOf,
  type Place,
  remoteNode,
  remotePod,
  SERVER,
  SYN_ACK,
  TCP,
  tcp,
  thisNode,
  UDP,
  udp,
  WORLD,
} from "./words.ts";

const [NAT_MIN, NAT_MAX] = [1024, 29999];
const kinds = [
  ["TCP", TCP, tcp],
  ["UDP", UDP, udp],
] as const;

describe("services from outside", () => {
  let datapath: Datapath;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    server = datapath.addPod("server", SERVER);
    placeNode(datapath);
  });
  after(() => datapath[Symbol.asyncDispose]());
  const reset = () => {
    datapath.services.clear();
    datapath.maps.ct.clear();
    datapath.maps.setPolicy(server, {});
  };
  /** A call to the node port; the port of this node that stands in for the caller's. */
  const callRemote = async (packet: typeof tcp | typeof udp, family: Family, port: number): Promise<number> => {
    const out = await datapath.fromNetwork(packet(caller, thisNode, family, [port, NODE_PORT]));
    assert.equal(out.verdict, "redirect");
    return (out.packet.tcp ?? out.packet.udp)?.sourcePort ?? 0;
  };

  for (const family of families) {
    for (const [name, protocol, packet] of kinds) {
      it(`a backend here sees the caller's address and its policy the caller's identity: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(nodePort(family, protocol, [server]));
        datapath.maps.setPolicy(server, { ingress: [{ peer: WORLD, protocol, port: TARGET }] });
        const out = await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT]));
        assert.equal(told(out), `redirect ${line(end(caller, family, 50000), end(server, family, TARGET))}`);
        assert.equal(out.events.at(-1)?.srcId, WORLD);
        const back = await datapath.fromPod(server, packet(server, caller, family, [TARGET, 50000], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(thisNode, family, NODE_PORT), end(caller, family, 50000))}`);
        datapath.maps.setPolicy(server, { ingress: [] });
        assert.equal(told(await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT], ACK))), "POLICY_DENIED");
      });

      it(`a backend on another node sees this node, and the caller the node port: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(nodePort(family, protocol, [remotePod]));
        const out = await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT]));
        const port = (out.packet.tcp ?? out.packet.udp)?.sourcePort ?? 0;
        assert.equal(told(out), `redirect ${line(end(thisNode, family, port), end(remotePod, family, TARGET))}`);
        assert.ok(port >= NAT_MIN && port <= NAT_MAX, `port ${port}`);
        const again = await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT], ACK));
        assert.equal(ends(again.bytes), line(end(thisNode, family, port), end(remotePod, family, TARGET)));
        const back = await datapath.fromNetwork(packet(remotePod, thisNode, family, [TARGET, port], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(thisNode, family, NODE_PORT), end(caller, family, 50000))}`);
      });

      it(`a backend in the node's namespace has it by the stack, and answers from the node port: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(nodePort(family, protocol, [thisNode]));
        const out = await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT]));
        assert.equal(told(out), `pass ${line(end(caller, family, 50000), end(thisNode, family, TARGET))}`);
        const back = await datapath.toNetwork(packet(thisNode, caller, family, [TARGET, 50000], SYN_ACK));
        assert.equal(told(back), `pass ${line(end(thisNode, family, NODE_PORT), end(caller, family, 50000))}`);
        const other = await datapath.toNetwork(packet(thisNode, caller, family, [TARGET, 50001], SYN_ACK));
        assert.equal(told(other), `pass ${line(end(thisNode, family, TARGET), end(caller, family, 50001))}`);
      });
    }

    it(`two callers with the same port are kept apart: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [remotePod]));
      const other: Place = { ipv4: "198.51.100.8" as Place["ipv4"], ipv6: "2001:db8::8" as Place["ipv6"] };
      const first = await callRemote(tcp, family, 50000);
      const out = await datapath.fromNetwork(tcp(other, thisNode, family, [50000, NODE_PORT]));
      const second = out.packet.tcp?.sourcePort ?? 0;
      assert.notEqual(first, second);
      for (const [port, place] of [
        [first, caller],
        [second, other],
      ] as const) {
        const back = await datapath.fromNetwork(tcp(remotePod, thisNode, family, [TARGET, port], SYN_ACK));
        assert.equal(ends(back.bytes), line(end(thisNode, family, NODE_PORT), end(place, family, 50000)));
      }
    });

    it(`an answer nobody waits for is the stack's: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [remotePod]));
      const port = await callRemote(tcp, family, 50000);
      for (const [from, to] of [
        [TARGET, port + 1],
        [TARGET + 1, port],
      ] as const) {
        const out = await datapath.fromNetwork(tcp(remotePod, thisNode, family, [from, to], SYN_ACK));
        assert.equal(told(out), `pass ${line(end(remotePod, family, from), end(thisNode, family, to))}`);
      }
    });

    it(`a lost half of a translation comes back with the next packet: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [remotePod]));
      const port = await callRemote(tcp, family, 50000);
      for (const key of datapath.services.nat.keys()) if (key.direction === 1) datapath.services.nat.delete(key);
      await datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT], ACK));
      const back = await datapath.fromNetwork(tcp(remotePod, thisNode, family, [TARGET, port], SYN_ACK));
      assert.equal(ends(back.bytes), line(end(thisNode, family, NODE_PORT), end(caller, family, 50000)));
    });

    it(`a ClusterIP cannot be called from outside: ${family}`, async () => {
      reset();
      datapath.services.set(clusterIp(family, TCP, [server]));
      assert.equal(told(await datapath.fromNetwork(tcp(caller, vip, family, [50000, PORT]))), "IS_A_CLUSTERIP");
    });

    it(`load balancer source ranges, as allowed and as denied: ${family}`, async () => {
      reset();
      const ranges = [family === "ipv4" ? ["198.51.100.0", 24] : ["2001:db8::", 32]] as [Place["ipv4"], number][];
      const spec = nodePort(family, TCP, [server]);
      const call = async (from: Place, port: number) => told(await datapath.fromNetwork(tcp(from, thisNode, family, [port, NODE_PORT])));
      const stranger: Place = { ipv4: "203.0.113.9" as Place["ipv4"], ipv6: "2001:dead::9" as Place["ipv6"] };
      datapath.services.set({ ...spec, sourceRanges: ranges, flags: ["ROUTABLE", "SOURCE_RANGES"] });
      assert.match(await call(caller, 50000), /^redirect/);
      assert.equal(await call(stranger, 50000), "DENIED_BY_LB_SRC_RANGE_CHECK");
      datapath.services.set({ ...spec, flags: ["ROUTABLE", "SOURCE_RANGES", "SOURCE_RANGES_DENY"] });
      assert.equal(await call(caller, 50001), "DENIED_BY_LB_SRC_RANGE_CHECK");
      assert.match(await call(stranger, 50001), /^redirect/);
    });

    it(`no backend: refused at once; with externalTrafficPolicy Local silence: ${family}`, async () => {
      reset();
      const spec = nodePort(family, TCP, []);
      datapath.services.set(spec);
      const out = await datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT]));
      assert.deepEqual([out.verdict, out.reason], ["redirect", "SERVICE_BACKEND_NOT_FOUND"]);
      assert.equal(ends(out.bytes), line(end(thisNode, family, NODE_PORT), end(caller, family, 50000)));
      datapath.services.set({ ...spec, flags: ["ROUTABLE", "EXTERNAL_LOCAL"] });
      const silent = await datapath.fromNetwork(tcp(caller, thisNode, family, [50001, NODE_PORT]));
      assert.deepEqual([silent.verdict, silent.reason], ["drop", "SERVICE_BACKEND_NOT_FOUND"]);
    });

    it(`nobody out there calls in this node's name: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [server]));
      assert.equal(told(await datapath.fromNetwork(tcp(thisNode, thisNode, family, [50000, NODE_PORT]))), "INVALID_SOURCE_IP");
      assert.equal(told(await datapath.fromNetwork(tcp(server, thisNode, family, [50000, NODE_PORT]))), "INVALID_SOURCE_IP");
    });

    it(`Maglev: the same caller and port get the same backend on every node: ${family}`, async () => {
      reset();
      const table = Array.from({ length: 2039 }, (_, i) => end(i % 2 === 0 ? server : remotePod, family, TARGET));
      const spec = { ...nodePort(family, TCP, [server, remotePod]), maglev: table };
      const choices = async () => {
        datapath.services.ct.clear();
        datapath.services.set(spec);
        const seen: string[] = [];
        for (let port = 50000; port < 50040; port++) {
          const { packet } = await datapath.fromNetwork(tcp(caller, thisNode, family, [port, NODE_PORT]));
          seen.push(packet.ip?.destination ?? "");
        }
        return seen;
      };
      const first = await choices();
      assert.deepEqual(await choices(), first);
      for (const place of [server, remotePod]) {
        const share = first.filter((address) => address === place[family]).length;
        assert.ok(share >= 8, `${place[family]} got ${share} of ${first.length}`);
      }
    });

    it(`Maglev: a table that still has a backend that is gone sends its callers to another: ${family}`, async () => {
      reset();
      const gone: Place = { ipv4: "10.244.2.77" as Place["ipv4"], ipv6: "fd00:10:244:2::77" as Place["ipv6"] };
      const table = Array.from({ length: 251 }, () => end(gone, family, TARGET));
      datapath.services.set({ ...nodePort(family, TCP, [server]), maglev: table });
      const out = await datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT]));
      assert.equal(told(out), `redirect ${line(end(caller, family, 50000), end(server, family, TARGET))}`);
    });

    it(`fragments go where the first one goes, and come back so: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, UDP, [remotePod]));
      const pieces = fragments(udp(caller, thisNode, family, [50000, NODE_PORT]), family, UDP, 11);
      let port = 0;
      for (const [i, piece] of pieces.entries()) {
        const out = await datapath.fromNetwork(piece);
        if (i === 0) port = out.packet.udp?.sourcePort ?? 0;
        assert.deepEqual([out.packet.ip?.source, out.packet.ip?.destination], [thisNode[family], remotePod[family]], `piece ${i}`);
      }
      for (const piece of fragments(udp(remotePod, thisNode, family, [TARGET, port]), family, UDP, 12)) {
        const out = await datapath.fromNetwork(piece);
        assert.deepEqual([out.packet.ip?.source, out.packet.ip?.destination], [thisNode[family], caller[family]]);
      }
    });

    it(`an ICMP error about a translated call reaches the caller, about what he has sent: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, UDP, [remotePod]));
      const port = await callRemote(udp, family, 50000);
      const quoted = buildPacket(udp(thisNode, remotePod, family, [port, TARGET]));
      for (const from of [remotePod, remoteNode]) {
        const out = await datapath.fromNetwork(icmp(from, thisNode, family, icmpOf[family].unreachable, 0, quoted));
        const source = from === remotePod ? thisNode : from;
        assert.equal(told(out), `redirect ${source[family]}:- > ${caller[family]}:-`);
        const original = out.packet.icmp?.original;
        assert.deepEqual(
          [original?.ip?.source, original?.udp?.sourcePort, original?.ip?.destination, original?.udp?.destinationPort],
          [caller[family], 50000, thisNode[family], NODE_PORT],
        );
      }
    });

    it(`an ICMP error about an answer reaches the backend, here and there: ${family}`, async () => {
      reset();
      const quoted = buildPacket(udp(thisNode, caller, family, [NODE_PORT, 50000]));
      for (const place of [server, remotePod]) {
        datapath.services.clear();
        datapath.services.set(nodePort(family, UDP, [place]));
        const call = await datapath.fromNetwork(udp(caller, thisNode, family, [50000, NODE_PORT]));
        const out = await datapath.fromNetwork(icmp(caller, thisNode, family, icmpOf[family].tooBig, 0, quoted));
        assert.equal(told(out), `redirect ${caller[family]}:- > ${place[family]}:-`);
        const original = out.packet.icmp?.original;
        assert.deepEqual(
          [original?.ip?.source, original?.udp?.sourcePort, original?.ip?.destination, original?.udp?.destinationPort],
          [place[family], TARGET, call.packet.ip?.source, call.packet.udp?.sourcePort],
        );
      }
    });

    it(`a backend's own ICMP error comes from the service: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, UDP, [server]));
      await datapath.fromNetwork(udp(caller, thisNode, family, [50000, NODE_PORT]));
      const quoted = buildPacket(udp(caller, server, family, [50000, TARGET]));
      const out = await datapath.fromPod(server, icmp(server, caller, family, icmpOf[family].unreachable, 0, quoted));
      assert.equal(told(out), `redirect ${thisNode[family]}:- > ${caller[family]}:-`);
      const original = out.packet.icmp?.original;
      assert.deepEqual([original?.ip?.destination, original?.udp?.destinationPort], [thisNode[family], NODE_PORT]);
    });
  }

  it("no port left: dropped and counted, other connections unaffected", async () => {
    await using small = openDatapath({ natPortMin: 2000, natPortMax: 2003 });
    placeNode(small);
    small.services.set(nodePort("ipv4", TCP, [remotePod]));
    const outcomes: string[] = [];
    for (let port = 50000; port < 50006; port++) {
      const out = await small.fromNetwork(tcp(caller, thisNode, "ipv4", [port, NODE_PORT]));
      outcomes.push(out.reason ?? out.verdict);
    }
    const lost = "NO_MAPPING_FOR_NAT_MASQUERADE";
    assert.deepEqual(outcomes, ["redirect", "redirect", "redirect", "redirect", lost, lost]);
    assert.equal(small.metric(167, 1).count, 2n);
    assert.equal((await small.fromNetwork(tcp(caller, thisNode, "ipv4", [50000, NODE_PORT], ACK))).verdict, "redirect");
  });

  it("a node without an address of the family serves no callers of remote backends", async () => {
    await using bare = openDatapath();
    placeNode(bare);
    bare.services.node.set(0, { ...bare.services.node.get(0), ipv4: { bytes: new Uint8Array(16) } } as never);
    bare.services.set(nodePort("ipv4", TCP, [remotePod]));
    assert.equal(told(await bare.fromNetwork(tcp(caller, thisNode, "ipv4", [50000, NODE_PORT]))), "NO_MAPPING_FOR_NAT_MASQUERADE");
  });
});
