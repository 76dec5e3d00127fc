import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { collectTranslations } from "#datapath/conntrack.ts";
import { maps } from "#datapath/gen/maps.ts";
import type { NatEntry, NatKey } from "#datapath/gen/structs.ts";
import type { BpfMap } from "#ebpf/bpf.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { monotonicNs } from "#sys/clock.ts";
import { addressToBytes } from "#types/addr.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import { caller, end, ends, line, NODE_PORT, nodePort, placeNode, TARGET } from "./service-words.ts";
import { ACK, type Family, families, outside, remotePod, SERVER, TCP, tcp, thisNode } from "./words.ts";

const PORTS = 65_535;
const [NAT_IN, INGRESS] = [1, 1];
const NO_PORT = "NO_MAPPING_FOR_NAT_MASQUERADE";
const now = () => Number(monotonicNs() / 1_000_000_000n);

/** What a backend's answer to each port of this node is: somebody's, until then. */
function* taken(family: Family, lifetime: number): Generator<readonly [NatKey, NatEntry]> {
  const address = (text: typeof caller.ipv4) => ({ bytes: addressToBytes(text) });
  const key = {
    source: address(remotePod[family]),
    destination: address(thisNode[family]),
    sport: TARGET,
    protocol: TCP,
    direction: NAT_IN,
  };
  const entry = { address: address(outside[family]), flags: 0, serviceId: 1, created: 1, lifetime };
  for (let port = 1; port <= PORTS; port++)
    yield [
      { ...key, dport: port },
      { ...entry, port },
    ];
}

describe("all ports of the node lent to callers of one backend", () => {
  let datapath: Datapath;
  let nat: BpfMap<NatKey, NatEntry>;
  before(() => {
    nat = openBpf().createMap(maps.ciliumSnat);
    datapath = openDatapath({ natPortMin: 1, natPortMax: PORTS }, { cilium_snat: nat.fd });
    placeNode(datapath);
  });
  after(async () => {
    await datapath[Symbol.asyncDispose]();
    nat.close();
  });

  for (const family of families) {
    const call = (port: number, flags?: number, service = NODE_PORT) =>
      datapath.fromNetwork(tcp(caller, thisNode, family, [port, service], flags));

    it(`the next is dropped and counted, nobody else; what nobody uses any more is collected and lent again: ${family}`, async () => {
      const server = datapath.pods.get("server") ?? datapath.addPod("server", SERVER);
      const other = { ...nodePort(family, TCP, [server]), port: NODE_PORT + 1 };
      datapath.services.set(nodePort(family, TCP, [remotePod]));
      datapath.services.set(other);
      const known = await call(50_000);
      assert.equal(known.verdict, "redirect");
      const live = [...nat.entries()];
      nat.setMany(taken(family, now() + 1000));
      for (const [key, entry] of live) nat.set(key, entry);
      const before = datapath.metric(167, INGRESS).count;
      for (let port = 50_001; port <= 50_008; port++) assert.equal((await call(port)).reason, NO_PORT);
      assert.equal(datapath.metric(167, INGRESS).count - before, 8n);
      const again = await call(50_000, ACK);
      assert.equal(ends(again.bytes), ends(known.bytes));
      const local = await call(50_009, undefined, NODE_PORT + 1);
      assert.equal(ends(local.bytes), line(end(caller, family, 50_009), end(server, family, TARGET)));

      // All callers but one have gone.
      nat.setMany(taken(family, now() - 1));
      for (const [key, entry] of live) nat.set(key, { ...entry, lifetime: now() + 1000 });
      assert.equal((await collectTranslations(nat, now)).deleted, PORTS - 1);
      assert.equal((await call(50_001)).reason, undefined);
      assert.equal(ends((await call(50_000, ACK)).bytes), ends(known.bytes));
    });
  }
});
