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

    const headers = family === "ipv4" ? 28 : 48;
    const room = MTU - (family === "ipv4" ? 8 : 24);
    const send = (length: number) =>
      datapath.fromNetwork({ ...udp(caller, thisNode, family, [50000, NODE_PORT]), payload: new Uint8Array(length - headers) });

    /** One that goes ahead of another has but its headers. */
    const isCut = (bytes: Uint8Array) => bytes.length === 14 + headers + MTU - room;

    it(`a datagram without room for the option goes without, after one that is cut off and has it: ${family}`, async () => {
      reset();
      datapath.services.set({ ...nodePort(family, UDP, [remotePod]), flags: ["ROUTABLE", "DSR"] });
      const called = line(end(caller, family, 50000), end(remotePod, family, TARGET));
      const [ahead] = [await send(MTU)];
      assert.deepEqual([ahead.verdict, ahead.reason, isCut(ahead.bytes)], ["redirect", undefined, true]);
      const { ip, udp: header } = ahead.packet;
      assert.equal(
        line(
          { ip: ip?.source as never, port: header?.sourcePort ?? 0 },
          { ip: ip?.destination as never, port: header?.destinationPort ?? 0 },
        ),
        called,
      );
      const { options } = option(family, thisNode, NODE_PORT, UDP);
      const at = family === "ipv4" ? 34 : 54;
      assert.deepEqual([...ahead.bytes.subarray(at, at + options.length)], [...options]);
      for (const length of [MTU, room + 1]) {
        // The next second may have begun: then another one goes ahead.
        let whole = await send(length);
        while (isCut(whole.bytes)) whole = await send(length);
        assert.deepEqual([told(whole), whole.bytes.length], [`redirect ${called}`, 14 + length]);
      }
      const short = await send(room);
      assert.deepEqual([told(short), short.bytes.length], [`redirect ${called}`, 14 + MTU]);
      assert.equal(datapath.services.nat.keys().length, 0);
    });

    it(`what goes ahead of a datagram is remembered, judged, and given to nobody: ${family}`, async () => {
      for (const allowed of [true, false]) {
        reset();
        datapath.maps.setPolicy(server, allowed ? {} : { ingress: [] });
        const cut = Uint8Array.from([50000 >> 8, 50000 & 0xff, TARGET >> 8, TARGET & 0xff, 5, 200, 0, 0]);
        const { ip } = udp(caller, server, family, [50000, TARGET]);
        const ahead = await datapath.fromNetwork({
          ip: { ...ip, ...option(family, remoteNode, NODE_PORT, UDP), protocol: UDP },
          payload: cut,
        });
        assert.deepEqual([ahead.verdict, ahead.reason], ["drop", allowed ? undefined : "POLICY_DENIED"]);
        if (!allowed) continue;
        const long = await datapath.fromNetwork({
          ...udp(caller, server, family, [50000, TARGET]),
          payload: new Uint8Array(MTU - headers),
        });
        assert.equal(told(long), `redirect ${line(end(caller, family, 50000), end(server, family, TARGET))}`);
        const back = await datapath.fromPod(server, udp(server, caller, family, [TARGET, 50000]));
        assert.equal(ends(back.bytes), line(end(remoteNode, family, NODE_PORT), end(caller, family, 50000)));
      }
      datapath.maps.setPolicy(server, {});
    });

    it(`an opening of TCP without room for the option is dropped and counted, and its sender is told what fits: ${family}`, async () => {
      reset();
      datapath.services.set({ ...nodePort(family, TCP, [remotePod]), flags: ["ROUTABLE", "DSR"] });
      const opening = tcp(caller, thisNode, family, [50000, NODE_PORT]);
      const open = (length: number) => datapath.fromNetwork({ ...opening, payload: new Uint8Array(length - headers - 12) });
      // Twice: that the connection is known by now makes no room.
      for (const length of [MTU, room + 1]) {
        const { verdict, reason, packet, bytes } = await open(length);
        assert.deepEqual([verdict, reason, packet.ip?.destination], ["redirect", "FRAGMENTATION_NEEDED", caller[family]]);
        assert.deepEqual([packet.icmp?.type, packet.icmp?.code], family === "ipv4" ? [3, 4] : [2, 0]);
        const at = family === "ipv4" ? 14 + 20 + 6 : 14 + 40 + 6;
        assert.equal(Buffer.from(bytes).readUInt16BE(at), room);
        assert.equal(packet.icmp?.original?.ip?.destination, thisNode[family]);
      }
      assert.equal((await open(room)).reason, undefined);
    });

    it(`a datagram without the option is of the known call when it has no room for one, and the backend's own when it has: ${family}`, async () => {
      reset();
      const short = udp(caller, server, family, [50000, TARGET]);
      await datapath.fromNetwork({ ...short, ip: { ...short.ip, ...option(family, remoteNode, NODE_PORT, UDP) } });
      const answer = async () => ends((await datapath.fromPod(server, udp(server, caller, family, [TARGET, 50000]))).bytes);
      for (const [length, from] of [
        [room + 1, end(remoteNode, family, NODE_PORT)],
        [room, end(server, family, TARGET)],
      ] as const) {
        await datapath.fromNetwork({ ...short, payload: new Uint8Array(length - headers) });
        assert.equal(await answer(), line(from, end(caller, family, 50000)));
      }
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
