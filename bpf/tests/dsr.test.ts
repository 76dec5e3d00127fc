import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { wireAddress } from "#packet/checksum.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { caller, end, ends, line, NODE_PORT, nodePort, placeNode, TARGET, told } from "./service-words.ts";
import { ACK, type Family, families, type Place, remoteNode, remotePod, SERVER, SYN_ACK, TCP, tcp, thisNode, UDP, udp } from "./words.ts";

const MTU = 1500;

/** The option that names the frontend, as another node adds it. */
function option(family: Family, frontend: Place, port: number, next: number): { options: Uint8Array; firstHeader?: number } {
  const address = wireAddress(frontend[family]);
  const ports = [port >> 8, port & 0xff];
  if (family === "ipv4") return { options: Uint8Array.from([154, 8, ...ports, ...address]) };
  return { options: Uint8Array.from([next, 2, 27, 20, ...address, ...ports, 0, 0]), firstHeader: 60 };
}

describe("direct server return", () => {
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

  for (const family of families) {
    for (const [name, protocol, packet] of [
      ["TCP", TCP, tcp],
      ["UDP", UDP, udp],
    ] as const) {
      it(`the backend's node gets the caller's address and the frontend's: ${name} ${family}`, async () => {
        reset();
        const spec = nodePort(family, protocol, [remotePod]);
        datapath.services.set({ ...spec, flags: ["ROUTABLE", "NODE_PORT", "DSR"] });
        const out = await datapath.fromNetwork(packet(caller, thisNode, family, [50000, NODE_PORT]));
        assert.equal(told(out), `redirect ${line(end(caller, family, 50000), end(remotePod, family, TARGET))}`);
        const { options } = option(family, thisNode, NODE_PORT, protocol);
        const at = family === "ipv4" ? 34 : 54;
        assert.deepEqual([...out.bytes.subarray(at, at + options.length)], [...options]);
        assert.equal(datapath.services.nat.keys().length, 0);
      });

      it(`a backend here answers from the frontend that another node names: ${name} ${family}`, async () => {
        reset();
        const call = packet(caller, server, family, [50000, TARGET]);
        const out = await datapath.fromNetwork({ ...call, ip: { ...call.ip, ...option(family, remoteNode, NODE_PORT, protocol) } });
        assert.equal(told(out), `redirect ${line(end(caller, family, 50000), end(server, family, TARGET))}`);
        if (protocol === TCP) await datapath.fromNetwork(tcp(caller, server, family, [50000, TARGET], ACK));
        const back = await datapath.fromPod(server, packet(server, caller, family, [TARGET, 50000], SYN_ACK));
        assert.equal(told(back), `redirect ${line(end(remoteNode, family, NODE_PORT), end(caller, family, 50000))}`);
      });

      it(`nobody may have us answer in a stranger's name: ${name} ${family}`, async () => {
        reset();
        const stranger: Place = { ipv4: "203.0.113.9" as Place["ipv4"], ipv6: "2001:dead::9" as Place["ipv6"] };
        const call = packet(caller, server, family, [50000, TARGET]);
        await datapath.fromNetwork({ ...call, ip: { ...call.ip, ...option(family, stranger, NODE_PORT, protocol) } });
        const back = await datapath.fromPod(server, packet(server, caller, family, [TARGET, 50000], SYN_ACK));
        assert.equal(ends(back.bytes), line(end(server, family, TARGET), end(caller, family, 50000)));
      });
    }

    it(`only the first packet of a TCP connection is longer: ${family}`, async () => {
      reset();
      datapath.services.set({ ...nodePort(family, TCP, [remotePod]), flags: ["ROUTABLE", "DSR"] });
      const call = (flags?: number) => datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT], flags));
      const [first, second] = [await call(), await call(ACK)];
      assert.equal(first.bytes.length - second.bytes.length, family === "ipv4" ? 8 : 24);
      assert.equal(ends(second.bytes), line(end(caller, family, 50000), end(remotePod, family, TARGET)));
    });

    it(`a caller whose packet the option makes too long is told how long it may be: ${family}`, async () => {
      reset();
      datapath.services.set({ ...nodePort(family, UDP, [remotePod]), flags: ["ROUTABLE", "DSR"] });
      const headers = family === "ipv4" ? 28 : 48;
      const longer = family === "ipv4" ? 8 : 24;
      const call = (length: number) =>
        datapath.fromNetwork({ ...udp(caller, thisNode, family, [50000, NODE_PORT]), payload: new Uint8Array(length - headers) });
      assert.equal((await call(MTU - longer)).reason, undefined);
      const out = await call(MTU - longer + 1);
      assert.deepEqual([out.verdict, out.reason], ["redirect", "FRAGMENTATION_NEEDED"]);
      assert.equal(ends(out.bytes), `${thisNode[family]}:- > ${caller[family]}:-`);
      assert.deepEqual([out.packet.icmp?.type, out.packet.icmp?.code], family === "ipv4" ? [3, 4] : [2, 0]);
      const at = (family === "ipv4" ? 34 : 54) + 6;
      assert.equal(((out.bytes[at] ?? 0) << 8) | (out.bytes[at + 1] ?? 0), MTU - longer);
    });

    it(`a backend out of the cluster gets this node's address: ${family}`, async () => {
      reset();
      const outside: Place = { ipv4: "192.0.2.80" as Place["ipv4"], ipv6: "2001:db8:80::1" as Place["ipv6"] };
      datapath.services.set({ ...nodePort(family, TCP, [outside]), flags: ["ROUTABLE", "DSR"] });
      const out = await datapath.fromNetwork(tcp(caller, thisNode, family, [50000, NODE_PORT]));
      assert.deepEqual([out.packet.ip?.source, out.packet.ip?.destination], [thisNode[family], outside[family]]);
    });
  }
});
