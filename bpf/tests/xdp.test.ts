import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { PacketSpec } from "#packet/build.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { caller, clusterIp, end, ends, line, NODE_PORT, nodePort, PORT, placeNode, TARGET, vip } from "./service-words.ts";
import { ACK, families, fragments, outside, remotePod, SERVER, SYN_ACK, TCP, tcp, thisNode, UDP, udp } from "./words.ts";

const ETHERNET = 14;

describe("at the driver", () => {
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
  };
  /** The driver's program sends the packet, and as TC would; the bytes it sends. */
  const likeTc = async (spec: PacketSpec): Promise<Uint8Array> => {
    // Once a second TC has it.
    if (datapath.atDriver(spec).verdict === "pass") await datapath.fromNetwork(spec);
    const out = datapath.atDriver(spec);
    assert.equal(out.verdict, "tx");
    const tc = await datapath.fromNetwork(spec);
    assert.equal(tc.verdict, "redirect");
    assert.deepEqual([...out.bytes.subarray(ETHERNET)], [...tc.bytes.subarray(ETHERNET)]);
    return out.bytes;
  };
  const passes = (spec: PacketSpec, why: string) => assert.equal(datapath.atDriver(spec).verdict, "pass", why);

  for (const family of families) {
    for (const [name, protocol, packet] of [
      ["TCP", TCP, tcp],
      ["UDP", UDP, udp],
    ] as const) {
      it(`a call to another node's backend turns round after its first packet, and so do the answers: ${name} ${family}`, async () => {
        reset();
        datapath.services.set(nodePort(family, protocol, [remotePod]));
        const call = (flags?: number) => packet(caller, thisNode, family, [50000, NODE_PORT], flags);
        passes(call(), "the first goes to TC");
        const first = await datapath.fromNetwork(call());
        const port = (first.packet.tcp ?? first.packet.udp)?.sourcePort ?? 0;
        // TC writes down that the connection is established; then there is nothing to write but once a second.
        await datapath.fromNetwork(call(ACK));
        const out = await likeTc(call(ACK));
        assert.equal(ends(out), line(end(thisNode, family, port), end(remotePod, family, TARGET)));
        const back = await likeTc(packet(remotePod, thisNode, family, [TARGET, port], SYN_ACK));
        assert.equal(ends(back), line(end(thisNode, family, NODE_PORT), end(caller, family, 50000)));
      });

      it(`DSR: the same, option and all: ${name} ${family}`, async () => {
        reset();
        datapath.services.set({ ...nodePort(family, protocol, [remotePod]), flags: ["ROUTABLE", "DSR"] });
        const call = packet(caller, thisNode, family, [50000, NODE_PORT]);
        passes(call, "the first goes to TC");
        await datapath.fromNetwork(call);
        const out = await likeTc(call);
        assert.equal(ends(out), line(end(caller, family, 50000), end(remotePod, family, TARGET)));
      });
    }

    it(`what is for this node, for the world, refused or in pieces goes on untouched: ${family}`, async () => {
      reset();
      datapath.services.set(nodePort(family, TCP, [server]));
      await datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT]));
      passes(tcp(caller, thisNode, family, [50000, NODE_PORT], ACK), "a backend here");
      passes(tcp(caller, server, family, [50000, TARGET], ACK), "a pod here");
      passes(tcp(caller, thisNode, family, [50000, 22], ACK), "the node");
      passes(tcp(remotePod, outside, family, [50000, 22], ACK), "somebody else");
      datapath.services.set(clusterIp(family, TCP, [remotePod]));
      passes(tcp(caller, vip, family, [50000, PORT]), "a ClusterIP");
      datapath.services.set(nodePort(family, UDP, [remotePod]));
      await datapath.fromNetwork(udp(caller, thisNode, family, [50000, NODE_PORT]));
      for (const piece of fragments(udp(caller, thisNode, family, [50000, NODE_PORT]), family, UDP, 3)) passes(piece, "a fragment");
    });
  }
});
