import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { buildPacket, type PacketSpec } from "#packet/build.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod } from "./maps.ts";
import { CLIENT, families, icmp, icmpOf, remotePod, SERVER, sctp, tcp, udp } from "./words.ts";

const DROP = 2;
const REDIRECT = 7;
const TRIES = 1500;
/** Time for each of the searches below, so that a slow machine tries less and fails nothing. */
const BUDGET_MS = 4000;

/**
 * Hostile bytes against programs whose policy allows nothing: whatever they are, none may get through, and no run may fail. What may happen is that a pod's
 * question for a neighbour is answered, or its answer about itself reaches the stack.
 */
describe("malformed packets", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath({ monitorAggregation: 3 });
    client = datapath.addPod("client", CLIENT, { egress: [], ingress: [] });
    server = datapath.addPod("server", SERVER, { egress: [], ingress: [] });
  });
  after(() => datapath[Symbol.asyncDispose]());

  const isNeighborTalk = (bytes: Uint8Array): boolean => {
    const type = ((bytes[12] ?? 0) << 8) | (bytes[13] ?? 0);
    return type === 0x0806 || (type === 0x86dd && bytes.includes(58));
  };
  const check = (bytes: Uint8Array): void => {
    // The kernel runs no program on less than Ethernet and fixed IP header (in real life it does: then the helpers' bounds hold).
    if (bytes.length < 14 + (bytes[12] === 0x08 ? 20 : 40)) return;
    const before = datapath.maps.ct.keys().length;
    for (const [program, pod] of [
      ["cil_from_container", client],
      ["cil_to_container", server],
    ] as const) {
      const { code } = datapath.runFast(program, bytes, { ifindex: pod.ifindex });
      if (!isNeighborTalk(bytes)) assert.equal(code, DROP, `${program} let it through: ${Buffer.from(bytes).toString("hex")}`);
    }
    const { code } = datapath.runFast("cil_from_netdev", bytes, { ifindex: 14 });
    assert.notEqual(code, REDIRECT, `cil_from_netdev let it through: ${Buffer.from(bytes).toString("hex")}`);
    assert.equal(datapath.maps.ct.keys().length, before, "nothing denied is remembered");
  };
  const frame = (spec: PacketSpec): Uint8Array => buildPacket({ ...spec, ethernet: { source: client.mac, destination: client.nodeMac } });
  const samples = (): Uint8Array[] =>
    families.flatMap((family) =>
      [
        tcp(client, server, family, [1000, 80]),
        udp(client, server, family, [1000, 53]),
        sctp(client, server, family, [1000, 80]),
        icmp(client, server, family, icmpOf[family].request),
        icmp(client, server, family, icmpOf[family].unreachable, 0, buildPacket(tcp(server, client, family, [80, 1000]))),
        tcp(remotePod, server, family, [1000, 80]),
        { ip: { ...udp(client, server, family, [1, 2]).ip, protocol: 17, moreFragments: true, id: 5 }, payload: new Uint8Array(64) },
        { ip: { ...udp(client, server, family, [1, 2]).ip, protocol: 17, fragmentOffset: 64, id: 5 }, payload: new Uint8Array(64) },
      ].map(frame),
    );
  const search = { numRuns: TRIES, interruptAfterTimeLimit: BUDGET_MS, markInterruptAsFailure: false };

  it("random bytes with a right Ethernet header", () => {
    const header = (type: number) => frame(tcp(client, server, type === 0x0800 ? "ipv4" : "ipv6", [1, 2])).subarray(0, 14);
    fc.assert(
      fc.property(fc.constantFrom(0x0800, 0x86dd), fc.uint8Array({ minLength: 20, maxLength: 300 }), (type, bytes) =>
        check(Uint8Array.from([...header(type), ...bytes])),
      ),
      search,
    );
  });

  it("real packets cut at every length", () => {
    for (const sample of samples()) for (let length = 15; length <= sample.length; length++) check(sample.subarray(0, length));
  });

  it("real packets with changed bytes", () => {
    const changes = fc.array(fc.tuple(fc.nat(110), fc.nat(255)), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.nat(15), changes, fc.option(fc.integer({ min: 15, max: 140 })), (which, edits, length) => {
        const all = samples();
        const bytes = Uint8Array.from(all[which % all.length] ?? []);
        for (const [at, value] of edits) if (at >= 12 && at < bytes.length) bytes[at] = value;
        check(length === null ? bytes : bytes.subarray(0, length));
      }),
      search,
    );
  });

  it("a length beyond the end is refused even where everything is allowed", async () => {
    await using open = openDatapath();
    const [a, b] = [open.addPod("a", CLIENT), open.addPod("b", SERVER)];
    for (const [family, offset] of [
      ["ipv4", 16],
      ["ipv6", 18],
    ] as const) {
      const bytes = Uint8Array.from(buildPacket({ ...udp(a, b, family, [1, 2]), ethernet: { source: a.mac, destination: a.nodeMac } }));
      const view = new DataView(bytes.buffer);
      view.setUint16(offset, view.getUint16(offset) + 1);
      assert.equal((await open.run("cil_from_container", bytes, { ifindex: a.ifindex })).reason, "INVALID_PACKET", family);
    }
  });

  it("lengths that lie", async () => {
    for (const [offset, value] of [
      [16, 0],
      [16, 19],
      [16, 21],
      [16, 0xffff],
    ] as const) {
      const bytes = Uint8Array.from(frame(tcp(client, server, "ipv4", [1, 2])));
      new DataView(bytes.buffer).setUint16(offset, value);
      check(bytes);
    }
    const ihl = Uint8Array.from(frame(tcp(client, server, "ipv4", [1, 2])));
    for (const first of [0x40, 0x44, 0x4f, 0x65, 0x05]) {
      ihl[14] = first;
      check(ihl);
    }
    const dataOffset = Uint8Array.from(frame(tcp(client, server, "ipv4", [1, 2])));
    dataOffset[46] = 0x40;
    const outcome = await datapath.run("cil_from_container", dataOffset, { ifindex: client.ifindex });
    assert.ok(outcome.verdict === "drop");
  });
});
