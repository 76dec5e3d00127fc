import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { buildPacket } from "#packet/build.ts";
import { type Datapath, type Outcome, openDatapath } from "./harness.ts";
import type { Pod, Rule } from "./maps.ts";
import { ACK, CLIENT, families, icmp, icmpOf, OTHER, remoteNode, remotePod, SERVER, SYN_ACK, TCP, tcp, UDP, udp } from "./words.ts";

const PORTS = [40000, 80] as const;
const BACK = [80, 40000] as const;
const FROM_INGRESS_PROXY = 0xa00;
const FROM_EGRESS_PROXY = 0xb00;
const l7: readonly Rule[] = [{ protocol: TCP, port: 80, proxyPort: 10001, cookie: 5 }];

/**
 * Which way packets take when a proxy is in the connection. There is no proxy here, and BPF_PROG_TEST_RUN assigns no sockets: a packet that was meant for one
 * is dropped with SOCKET_LOOKUP_FAILED after its TO_PROXY record, or sent back into its device (hairpin). test/netns/datapath.test.ts has the real thing.
 */
describe("the proxy's part", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
    for (const family of families) datapath.maps.know(remotePod[family], OTHER, remoteNode[family]);
  });
  after(() => datapath[Symbol.asyncDispose]());

  const begin = (policies: { client?: readonly Rule[]; server?: readonly Rule[] }): void => {
    datapath.maps.ct.clear();
    datapath.maps.setPolicy(client, policies.client ? { egress: policies.client } : {});
    datapath.maps.setPolicy(server, policies.server ? { ingress: policies.server } : {});
  };
  const toProxy = (outcome: Outcome): void => {
    assert.equal(outcome.traces.at(-1), "TO_PROXY");
    assert.equal(outcome.reason, "SOCKET_LOOKUP_FAILED");
  };
  const hairpin = (outcome: Outcome, port: number): void => {
    assert.equal(outcome.traces.at(-1), "TO_PROXY");
    assert.equal(outcome.verdict, "redirect");
    assert.equal(outcome.mark, (0x200 | (port << 16)) >>> 0);
  };
  const delivered = (outcome: Outcome): void => {
    assert.equal(outcome.reason, undefined);
    assert.equal(outcome.traces.at(-1), "TO_ENDPOINT");
  };

  for (const family of families) {
    it(`a verdict with a proxy port says so in its record: ${family}`, async () => {
      begin({ client: l7 });
      const { events } = await datapath.fromPod(client, tcp(client, server, family, PORTS));
      const verdict = events.find(({ type }) => type === 5);
      assert.deepEqual([verdict?.verdict, verdict?.cookie, verdict?.direction], [10001, 5, 2]);
    });

    it(`egress: the receiver's policy is not asked before the proxy calls it: ${family}`, async () => {
      begin({ client: l7, server: [] });
      const outcome = await datapath.fromPod(client, tcp(client, server, family, PORTS));
      toProxy(outcome);
      assert.equal(outcome.events.filter(({ type }) => type === 5).length, 1);
      const call = await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_EGRESS_PROXY });
      assert.equal(call.reason, "POLICY_DENIED");
    });

    it(`audit mode shows what is new to the proxy, and leaves alone what has begun: ${family}`, async () => {
      const plain: readonly Rule[] = [{ protocol: TCP, port: 80, cookie: 6 }];
      begin({ server: plain });
      delivered(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      datapath.maps.setPolicy(server, { ingress: plain, audited: { ingress: l7 } });
      delivered(await datapath.fromPod(client, tcp(client, server, family, PORTS, ACK)));
      datapath.maps.setPolicy(server, { ingress: l7, audit: true });
      delivered(await datapath.fromPod(client, tcp(client, server, family, PORTS, ACK)));
      toProxy(await datapath.fromPod(client, tcp(client, server, family, [40001, 80])));
      datapath.maps.setPolicy(server, { ingress: plain, audited: { ingress: l7 } });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, [40002, 80])));
      datapath.maps.setPolicy(server, { ingress: [], audited: { ingress: l7 } });
      const denied = await datapath.fromPod(client, tcp(client, server, family, [40003, 80]));
      assert.equal(denied.reason, "POLICY_DENIED", "nothing is watched that the policy in force denies");
    });

    it(`ingress: from a pod here, from the network, from the stack: ${family}`, async () => {
      begin({ server: l7 });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      toProxy(await datapath.fromNetwork(tcp(remotePod, server, family, PORTS)));
      hairpin(await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_EGRESS_PROXY }), 10001);
    });

    it(`what the ingress proxy sends to its pod is not sent to it again: ${family}`, async () => {
      begin({ server: l7 });
      delivered(await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_INGRESS_PROXY }));
      delivered(await datapath.toPod(server, tcp(client, server, family, [50000, 80], ACK), { mark: FROM_INGRESS_PROXY }));
    });

    it(`… whichever side speaks first after a change of the policy: ${family}`, async () => {
      const call = [50000, 80] as const;
      begin({ server: l7 });
      delivered(await datapath.toPod(server, tcp(client, server, family, call), { mark: FROM_INGRESS_PROXY }));
      datapath.maps.setPolicy(server, { ingress: l7 });
      toProxy(await datapath.fromPod(server, tcp(server, client, family, [80, 50000], ACK)));
      delivered(await datapath.toPod(server, tcp(client, server, family, call, ACK), { mark: FROM_INGRESS_PROXY }));
    });

    it(`… but is denied when the policy no longer allows the client: ${family}`, async () => {
      begin({ server: l7 });
      delivered(await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_INGRESS_PROXY }));
      datapath.maps.setPolicy(server, { ingress: [] });
      const outcome = await datapath.toPod(server, tcp(client, server, family, [50000, 80], ACK), { mark: FROM_INGRESS_PROXY });
      assert.equal(outcome.reason, "POLICY_DENIED");
      assert.equal((await datapath.fromPod(server, tcp(server, client, family, [80, 50000], ACK))).reason, "POLICY_DENIED");
    });

    it(`the server's answer to the proxy goes to the proxy, not to the client it is addressed to: ${family}`, async () => {
      begin({ server: l7 });
      await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_INGRESS_PROXY });
      toProxy(await datapath.fromPod(server, tcp(server, client, family, [80, 50000], SYN_ACK)));
      await datapath.toPod(server, tcp(remotePod, server, family, [50001, 80]), { mark: FROM_INGRESS_PROXY });
      toProxy(await datapath.fromPod(server, tcp(server, remotePod, family, [80, 50001], SYN_ACK)));
    });

    it(`the proxy's answer to the client reaches the client: ${family}`, async () => {
      for (const policies of [{ client: l7 }, { server: l7 }]) {
        begin(policies);
        await datapath.fromPod(client, tcp(client, server, family, PORTS));
        delivered(await datapath.toPod(client, tcp(server, client, family, BACK, SYN_ACK)));
      }
    });

    it(`both proxies on one node: the ingress proxy's answer goes to the egress proxy: ${family}`, async () => {
      begin({ client: l7, server: l7 });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      hairpin(await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_EGRESS_PROXY }), 10001);
      hairpin(await datapath.toPod(client, tcp(server, client, family, [80, 50000], SYN_ACK)), 0);
      delivered(await datapath.toPod(server, tcp(client, server, family, [60000, 80]), { mark: FROM_INGRESS_PROXY }));
      toProxy(await datapath.fromPod(server, tcp(server, client, family, [80, 60000], SYN_ACK)));
    });

    it(`a server cannot speak past the proxy into a proxied connection: ${family}`, async () => {
      begin({ client: l7 });
      await datapath.fromPod(client, tcp(client, server, family, PORTS));
      toProxy(await datapath.fromPod(server, tcp(server, client, family, BACK, ACK)));
      begin({ client: l7 });
      await datapath.fromPod(client, tcp(client, remotePod, family, PORTS));
      toProxy(await datapath.fromNetwork(tcp(remotePod, client, family, BACK, ACK)));
    });

    it(`client and proxy may use the same port: two connections, two entries: ${family}`, async () => {
      begin({ server: l7 });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      delivered(await datapath.toPod(server, tcp(client, server, family, PORTS), { mark: FROM_INGRESS_PROXY }));
      assert.equal(datapath.maps.ct.keys().length, 2);
      delivered(await datapath.toPod(client, tcp(server, client, family, BACK, SYN_ACK)));
      toProxy(await datapath.fromPod(server, tcp(server, client, family, BACK, SYN_ACK)));
    });

    it(`a proxied connection stays with the proxy when the rule loses its L7 part: ${family}`, async () => {
      begin({ client: l7 });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      const more = await datapath.fromPod(client, tcp(client, server, family, PORTS, ACK));
      toProxy(more);
      assert.deepEqual(
        more.events.filter(({ type }) => type === 5),
        [],
        "policy is asked once",
      );
      datapath.maps.setPolicy(client, { egress: [{ protocol: TCP, port: 80 }] });
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS, ACK)));
      delivered(await datapath.fromPod(client, tcp(client, server, family, [40001, 80])));
    });

    it(`a direct connection goes no further when the rule becomes L7: ${family}`, async () => {
      begin({});
      delivered(await datapath.fromPod(client, tcp(client, server, family, PORTS)));
      delivered(await datapath.fromPod(server, tcp(server, client, family, BACK, SYN_ACK)));
      datapath.maps.setPolicy(client, { egress: l7 });
      toProxy(await datapath.fromPod(server, tcp(server, client, family, BACK, ACK)));
      toProxy(await datapath.fromPod(client, tcp(client, server, family, PORTS, ACK)));
    });

    it(`DNS goes to the proxy by UDP; a protocol it cannot take is refused: ${family}`, async () => {
      begin({
        client: [
          { protocol: UDP, port: 53, proxyPort: 10053 },
          { protocol: icmpOf[family].protocol, port: icmpOf[family].request, proxyPort: 10001 },
        ],
      });
      toProxy(await datapath.fromPod(client, udp(client, server, family, [5000, 53])));
      const ping = await datapath.fromPod(client, icmp(client, server, family, icmpOf[family].request));
      assert.equal(ping.reason, "PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL");
    });

    it(`an ICMP error about the proxy's connection goes to the stack, which has the socket: ${family}`, async () => {
      begin({ server: l7 });
      await datapath.toPod(server, tcp(client, server, family, [50000, 80]), { mark: FROM_INGRESS_PROXY });
      const quoted = buildPacket(tcp(client, server, family, [50000, 80]));
      const outcome = await datapath.fromPod(server, icmp(server, client, family, icmpOf[family].unreachable, 0, quoted));
      assert.deepEqual([outcome.verdict, outcome.mark], ["pass", 0x200]);
    });
  }
});
