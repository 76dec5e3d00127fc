import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { CtEntryFlags, CtReason, EventType } from "#datapath/gen/enums.ts";
import { ctEntry, ctKey } from "#datapath/gen/structs.ts";
import { buildPacket, type PacketSpec } from "#packet/build.ts";
import { type Datapath, type Outcome, openDatapath } from "./harness.ts";
import { createMap } from "./kernel.ts";
import type { Pod, Rule } from "./maps.ts";
import {
  ACK,
  CLIENT,
  FIN_ACK,
  families,
  HOST,
  icmp,
  icmpOf,
  outside,
  RST,
  remoteNode,
  remotePod,
  SERVER,
  SYN_ACK,
  TCP,
  tcp,
  thisNode,
  UDP,
  udp,
} from "./words.ts";

const web: readonly Rule[] = [{ peer: SERVER, protocol: TCP, port: 80 }];
const fromClient: readonly Rule[] = [{ peer: CLIENT, protocol: TCP, port: 80 }];
const PORTS = [40000, 80] as const;
const BACK = [80, 40000] as const;

describe("conntrack", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    for (const family of families) {
      datapath.maps.know(remotePod[family], SERVER, remoteNode[family]);
      datapath.maps.know(remoteNode[family], 6);
      datapath.maps.know(thisNode[family], HOST);
    }
  });
  after(() => datapath[Symbol.asyncDispose]());

  const begin = (ofClient: readonly Rule[] | undefined = web, ofServer: readonly Rule[] | undefined = fromClient): void => {
    datapath.maps.ct.clear();
    datapath.maps.setPolicy(client, ofClient ? { egress: ofClient, ingress: [] } : {});
    datapath.maps.setPolicy(server, ofServer ? { ingress: ofServer, egress: [] } : {});
  };
  const entry = () => {
    const [key, ...more] = datapath.maps.ct.keys();
    assert.equal(more.length, 0, "one connection has one entry");
    const value = key && datapath.maps.ct.get(key);
    if (!value) throw new Error("no entry");
    return { key, value };
  };
  const passes = (outcome: Outcome, reason?: keyof typeof CtReason): void => {
    assert.equal(outcome.reason, undefined);
    assert.notEqual(outcome.verdict, "drop");
    if (reason) assert.equal(outcome.events.at(-1)?.ctReason, CtReason[reason]);
  };

  for (const family of families) {
    const out = (flags?: number): PacketSpec => tcp(client, server, family, PORTS, flags);
    const back = (flags: number): PacketSpec => tcp(server, client, family, BACK, flags);

    it(`a reply passes although nothing allows it, and both directions are counted: ${family}`, async () => {
      begin();
      passes(await datapath.fromPod(client, out()), "NEW");
      passes(await datapath.fromPod(server, back(SYN_ACK)), "REPLY");
      passes(await datapath.fromPod(client, out(ACK)), "ESTABLISHED");
      const { value } = entry();
      assert.deepEqual([value.txPackets, value.rxPackets], [2n, 1n]);
      assert.ok(value.flags & CtEntryFlags.SEEN_REPLY);
      assert.equal(value.egress.lxcId, client.lxcId);
      assert.equal(value.ingress.lxcId, server.lxcId);
    });

    it(`a reply without a request does not pass: ${family}`, async () => {
      begin();
      assert.equal((await datapath.fromPod(server, back(SYN_ACK))).reason, "POLICY_DENIED");
    });

    it(`the called side may not call back over the same ports: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(SYN_ACK));
      assert.equal((await datapath.fromPod(server, tcp(server, client, family, BACK))).reason, "POLICY_DENIED");
      passes(await datapath.fromPod(client, out(ACK)), "ESTABLISHED");
    });

    it(`lifetimes follow the TCP states: ${family}`, async () => {
      begin();
      const left = () => entry().value.lifetime - entry().value.created;
      await datapath.fromPod(client, out());
      assert.equal(left(), 60);
      await datapath.fromPod(server, back(SYN_ACK));
      assert.ok(left() >= 8000);
      await datapath.fromPod(client, out(FIN_ACK));
      assert.ok(left() >= 8000, "half closed is open");
      await datapath.fromPod(server, back(FIN_ACK));
      assert.ok(left() <= 12);
    });

    it(`a reset ends it; traffic after it means nobody believed it: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(SYN_ACK));
      await datapath.fromPod(server, back(RST));
      assert.ok(entry().value.flags & CtEntryFlags.RESET);
      passes(await datapath.fromPod(client, out(ACK)));
      assert.equal(entry().value.flags & CtEntryFlags.RESET, 0);
    });

    it(`a closed tuple opened again is judged afresh: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(RST));
      passes(await datapath.fromPod(client, out()), "NEW");
      await datapath.fromPod(server, back(RST));
      // Same generation: only a fresh look can tell.
      const config = datapath.maps.policyConfig.get(server.lxcId);
      datapath.maps.setPolicy(server, { ingress: [], generation: config?.generation ?? 0 });
      assert.equal((await datapath.fromPod(client, out())).reason, "POLICY_DENIED");
    });

    it(`an entry past its lifetime is no entry: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(SYN_ACK));
      const { key, value } = entry();
      datapath.maps.ct.set(key, { ...value, lifetime: 1 });
      assert.equal((await datapath.fromPod(server, back(ACK))).reason, "POLICY_DENIED");
    });

    it(`a policy that takes it away cuts both directions, and one that gives it back heals them: ${family}`, async () => {
      for (const [pod, without, restored] of [
        [server, { ingress: [], egress: [] }, { ingress: fromClient, egress: [] }],
        [client, { ingress: [], egress: [] }, { egress: web, ingress: [] }],
      ] as const) {
        begin();
        await datapath.fromPod(client, out());
        await datapath.fromPod(server, back(SYN_ACK));
        datapath.maps.setPolicy(pod, without);
        assert.equal((await datapath.fromPod(server, back(ACK))).reason, "POLICY_DENIED", "the reply");
        assert.equal((await datapath.fromPod(client, out(ACK))).reason, "POLICY_DENIED", "the original direction");
        datapath.maps.setPolicy(pod, restored);
        passes(await datapath.fromPod(server, back(ACK)), "REPLY");
        passes(await datapath.fromPod(client, out(ACK)), "ESTABLISHED");
      }
    });

    it(`a policy that changes and still allows does not disturb, and is asked once: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      datapath.maps.setPolicy(server, { ingress: [{ peer: CLIENT, cookie: 77 }] });
      const asked = (outcome: Outcome) => outcome.events.filter(({ type }) => type === EventType.POLICY_VERDICT).length;
      assert.equal(asked(await datapath.fromPod(client, out(ACK))), 1);
      assert.equal(asked(await datapath.fromPod(client, out(ACK))), 0);
      assert.equal(entry().value.ingress.cookie, 77);
    });

    it(`a peer whose identity changes is judged again: ${family}`, async () => {
      begin(web, undefined);
      await datapath.fromPod(client, tcp(client, remotePod, family, PORTS));
      datapath.maps.know(remotePod[family], 99999, remoteNode[family]);
      assert.equal((await datapath.fromNetwork(tcp(remotePod, client, family, BACK, SYN_ACK))).reason, "POLICY_DENIED");
      assert.equal((await datapath.fromPod(client, tcp(client, remotePod, family, PORTS, ACK))).reason, "POLICY_DENIED");
      datapath.maps.know(remotePod[family], SERVER, remoteNode[family]);
    });

    it(`an address given to another pod, or another node, does not inherit: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(SYN_ACK));
      const { key, value } = entry();
      datapath.maps.ct.set(key, { ...value, ingress: { ...value.ingress, lxcId: 999 } });
      assert.equal((await datapath.fromPod(server, back(ACK))).reason, "POLICY_DENIED");
      datapath.maps.ct.set(key, { ...value, egress: { ...value.egress, lxcId: 0 } });
      assert.equal((await datapath.fromPod(server, back(ACK))).reason, "POLICY_DENIED", "the caller was elsewhere");

      begin(web, undefined);
      await datapath.fromPod(client, tcp(client, remotePod, family, PORTS));
      const old = entry();
      datapath.maps.ct.set(old.key, { ...old.value, ingress: { ...old.value.ingress, lxcId: 998 } });
      passes(await datapath.fromPod(client, tcp(client, remotePod, family, PORTS)), "NEW");
      assert.equal(entry().value.ingress.lxcId, 0);
    });

    it(`UDP: the answer passes, another port does not: ${family}`, async () => {
      begin([{ peer: SERVER, protocol: UDP, port: 53 }], [{ peer: CLIENT, protocol: UDP, port: 53 }]);
      passes(await datapath.fromPod(client, udp(client, server, family, [5000, 53])), "NEW");
      passes(await datapath.fromPod(server, udp(server, client, family, [53, 5000])), "REPLY");
      assert.equal((await datapath.fromPod(server, udp(server, client, family, [54, 5000]))).reason, "POLICY_DENIED");
      assert.equal((await datapath.fromPod(server, udp(server, client, family, [53, 5001]))).reason, "POLICY_DENIED");
    });

    it(`TCP and UDP of the same ports are strangers: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      assert.equal((await datapath.fromPod(server, udp(server, client, family, [80, 40000]))).reason, "POLICY_DENIED");
    });

    it(`ping: the answer passes; a request under cover of an answer does not: ${family}`, async () => {
      const { protocol, request, reply } = icmpOf[family];
      begin([{ protocol, port: request }], [{ protocol, port: request }]);
      passes(await datapath.fromPod(client, icmp(client, server, family, request)), "NEW");
      passes(await datapath.fromPod(server, icmp(server, client, family, reply)), "REPLY");
      assert.equal((await datapath.fromPod(server, icmp(server, client, family, reply, 8))).reason, "POLICY_DENIED", "another identifier");
      assert.equal((await datapath.fromPod(server, icmp(server, client, family, request))).reason, "POLICY_DENIED", "its own request");
    });

    it(`an ICMP error about a live flow passes from any router; a forged one does not: ${family}`, async () => {
      const { unreachable, tooBig, timeExceeded } = icmpOf[family];
      begin(web, fromClient);
      const sent = tcp(client, remotePod, family, PORTS);
      await datapath.fromPod(client, sent);
      for (const type of [unreachable, tooBig, timeExceeded]) {
        passes(await datapath.fromNetwork(icmp(outside, client, family, type, 0, buildPacket(sent))), "RELATED");
      }
      const stranger = buildPacket(tcp(client, remotePod, family, [40001, 80]));
      assert.equal((await datapath.fromNetwork(icmp(outside, client, family, unreachable, 0, stranger))).reason, "POLICY_DENIED");
      const others = buildPacket(tcp(server, remotePod, family, PORTS));
      assert.equal((await datapath.fromNetwork(icmp(outside, client, family, unreachable, 0, others))).reason, "INVALID_PACKET");
      const cut = buildPacket(sent).subarray(0, 20);
      assert.equal(
        (await datapath.fromNetwork(icmp(outside, client, family, unreachable, 0, cut))).reason,
        "CT_TRUNCATED_OR_INVALID_HEADER",
      );
      datapath.maps.setPolicy(client, { egress: [], ingress: [] });
      assert.equal(
        (await datapath.fromNetwork(icmp(outside, client, family, unreachable, 0, buildPacket(sent)))).reason,
        "POLICY_DENIED",
        "cut with its flow",
      );
    });

    it(`an ICMP error changes nothing in the entry: ${family}`, async () => {
      begin();
      await datapath.fromPod(client, out());
      const before = entry().value;
      await datapath.fromPod(server, icmp(server, client, family, icmpOf[family].unreachable, 0, buildPacket(out())));
      assert.deepEqual(entry().value, before);
    });

    it(`audit: what passes only because of it stays marked, and stops when audit ends: ${family}`, async () => {
      datapath.maps.ct.clear();
      datapath.maps.setPolicy(client, {});
      datapath.maps.setPolicy(server, { ingress: [], audit: true });
      const first = await datapath.fromPod(client, out());
      passes(first, "NEW");
      assert.ok(first.events.some(({ type, verdict, flags }) => type === EventType.POLICY_VERDICT && verdict === -133 && flags & 8));
      passes(await datapath.fromPod(server, back(SYN_ACK)), "REPLY");
      datapath.maps.setPolicy(server, { ingress: [] });
      assert.equal((await datapath.fromPod(server, back(ACK))).reason, "POLICY_DENIED");
    });

    it(`the node's own connection to its pod, and the pod's to its node: ${family}`, async () => {
      datapath.maps.ct.clear();
      datapath.maps.setPolicy(client, { ingress: [{ peer: HOST }], egress: [] });
      passes(await datapath.toPod(client, tcp(thisNode, client, family, PORTS)), "NEW");
      passes(await datapath.fromPod(client, tcp(client, thisNode, family, BACK, SYN_ACK)), "REPLY");
      datapath.maps.setPolicy(client, { ingress: [], egress: [{ peer: HOST }] });
      passes(await datapath.fromPod(client, tcp(client, thisNode, family, [50000, 10250])), "NEW");
      passes(await datapath.toPod(client, tcp(thisNode, client, family, [10250, 50000], SYN_ACK)), "REPLY");
    });

    it(`an address of the node that the ipcache does not know is the node all the same: ${family}`, async () => {
      datapath.maps.ct.clear();
      datapath.maps.setPolicy(client, { ingress: [{ peer: HOST }], egress: [] });
      passes(await datapath.toPod(client, tcp(outside, client, family, PORTS)), "NEW");
      passes(await datapath.fromPod(client, tcp(client, outside, family, BACK, SYN_ACK)), "REPLY");
      assert.equal(
        (await datapath.toPod(client, tcp(outside, client, family, [40001, 80]), { ingressIfindex: 14 })).reason,
        "POLICY_DENIED",
        "forwarded, not its own",
      );
    });
  }

  it("a full table denies what is new, and lets go on what is known", async () => {
    const HASH = 1;
    const table = createMap(HASH, ctKey.size, ctEntry.size, 1);
    await using small = openDatapath({}, { cilium_ct: table });
    const [a, b] = [small.addPod("a", CLIENT), small.addPod("b", SERVER)];
    passes(await small.fromPod(a, tcp(a, b, "ipv4", PORTS)), "NEW");
    assert.equal((await small.fromPod(a, tcp(a, b, "ipv4", [40001, 80]))).reason, "CT_MAP_INSERTION_FAILED");
    passes(await small.fromPod(b, tcp(b, a, "ipv4", BACK, SYN_ACK)), "REPLY");
  });
});
