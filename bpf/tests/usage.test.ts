import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { EventType } from "#datapath/gen/enums.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod, PolicyOfPod, Rule } from "./maps.ts";
import { ACK, CLIENT, FIN_ACK, families, icmp, icmpOf, OTHER, SERVER, SYN_ACK, TCP, tcp, UDP, udp } from "./words.ts";

const PORTS = [40000, 80] as const;
const BACK = [80, 40000] as const;
const web: Rule = { peer: SERVER, protocol: TCP, port: 80, cookie: 11 };
const fromClient: Rule = { peer: CLIENT, protocol: TCP, port: 80, cookie: 22 };

describe("usage", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  let before_: Record<string, { packets: bigint; bytes: bigint }>;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
  });
  after(() => datapath[Symbol.asyncDispose]());
  beforeEach(() => {
    datapath.maps.ct.clear();
    before_ = datapath.usage();
  });
  const set = (ofClient: PolicyOfPod, ofServer: PolicyOfPod) => {
    datapath.maps.setPolicy(client, ofClient);
    datapath.maps.setPolicy(server, ofServer);
  };
  /** Packets since the test began. */
  const packets = () =>
    Object.fromEntries(
      Object.entries(datapath.usage()).flatMap(([name, now]) => {
        const count = Number(now.packets - (before_[name]?.packets ?? 0n));
        return count === 0 ? [] : [[name, count]];
      }),
    );

  for (const family of families) {
    const out = (flags?: number) => tcp(client, server, family, PORTS, flags);
    const back = (flags: number) => tcp(server, client, family, BACK, flags);

    it(`every packet of a connection counts for the rules of both ends, replies too: ${family}`, async () => {
      set({ egress: [web] }, { ingress: [fromClient] });
      const sent = [await datapath.fromPod(client, out()), await datapath.fromPod(server, back(SYN_ACK))];
      for (let i = 0; i < 5; i += 1) sent.push(await datapath.fromPod(client, out(ACK)));
      assert.deepEqual(packets(), { "11 egress ALLOWED": 7, "22 ingress ALLOWED": 7 });
      const bytes = sent.reduce((sum, { bytes: { length } }) => sum + BigInt(length), 0n);
      assert.equal((datapath.usage()["11 egress ALLOWED"]?.bytes ?? 0n) - (before_["11 egress ALLOWED"]?.bytes ?? 0n), bytes);
    });

    it(`what is denied counts for the rules that denied, each time: ${family}`, async () => {
      set({ egress: [] }, { ingress: [fromClient] });
      for (let i = 0; i < 3; i += 1) await datapath.fromPod(client, out());
      set({ egress: [{ ...web, deny: true }] }, { ingress: [fromClient] });
      await datapath.fromPod(client, out());
      assert.deepEqual(packets(), { "9002 egress DENIED": 3, "11 egress DENIED": 1 });
    });

    it(`a rule that takes over a connection counts from then on: ${family}`, async () => {
      set({ egress: [web] }, {});
      await datapath.fromPod(client, out());
      await datapath.fromPod(client, out(ACK));
      set({ egress: [{ ...web, cookie: 33 }] }, {});
      await datapath.fromPod(client, out(ACK));
      await datapath.fromPod(server, back(ACK));
      await datapath.fromPod(client, out(ACK));
      assert.deepEqual(packets(), { "11 egress ALLOWED": 2, "33 egress ALLOWED": 3 });
    });

    it(`a tuple used again loses nothing of the connection before: ${family}`, async () => {
      set({ egress: [web] }, {});
      for (const flags of [undefined, ACK, FIN_ACK]) await datapath.fromPod(client, out(flags));
      for (const flags of [SYN_ACK, FIN_ACK, ACK]) await datapath.fromPod(server, back(flags));
      await datapath.fromPod(client, out());
      assert.deepEqual(packets(), { "11 egress ALLOWED": 7 });
    });

    it(`UDP and ping count as well: ${family}`, async () => {
      const { protocol, request, reply } = icmpOf[family];
      set(
        {
          egress: [
            { peer: SERVER, protocol: UDP, port: 53, cookie: 44 },
            { peer: SERVER, protocol, port: request, cookie: 55 },
          ],
        },
        {},
      );
      await datapath.fromPod(client, udp(client, server, family, [5353, 53]));
      await datapath.fromPod(server, udp(server, client, family, [53, 5353]));
      await datapath.fromPod(client, icmp(client, server, family, request));
      await datapath.fromPod(server, icmp(server, client, family, reply));
      assert.deepEqual(packets(), { "44 egress ALLOWED": 2, "55 egress ALLOWED": 2 });
    });

    it(`audit of an endpoint: what would be denied counts as audited, for the rules that would: ${family}`, async () => {
      set({ egress: [{ ...web, deny: true }], audit: true }, {});
      await datapath.fromPod(client, out());
      await datapath.fromPod(server, back(SYN_ACK));
      assert.deepEqual(packets(), { "11 egress AUDITED": 2 });
    });

    it(`an audited policy beside enforced ones: denied by it alone passes and is reported: ${family}`, async () => {
      set({}, { audited: { ingress: [{ ...fromClient, peer: OTHER }] } });
      const first = await datapath.fromPod(client, out());
      assert.equal(first.verdict, "redirect");
      const verdict = first.events.find(({ type }) => type === EventType.POLICY_VERDICT);
      assert.deepEqual([verdict?.verdict, verdict?.cookie, (verdict?.flags ?? 0) & 8], [-133, 9001, 8]);
      assert.equal((await datapath.fromPod(server, back(SYN_ACK))).verdict, "redirect");
      assert.deepEqual(packets(), { "9001 ingress AUDITED": 2 });
    });

    it(`… what both allow is not reported, and counts for the rule in force: ${family}`, async () => {
      set({}, { ingress: [fromClient], audited: { ingress: [{ ...fromClient, cookie: 66 }] } });
      const first = await datapath.fromPod(client, out());
      assert.ok(first.events.every(({ flags }) => !(flags & 8)));
      assert.deepEqual(packets(), { "22 ingress ALLOWED": 1 });
    });

    it(`… what nothing but the audited policy mentions counts for its rule: ${family}`, async () => {
      set({}, { audited: { ingress: [{ ...fromClient, cookie: 66 }] } });
      await datapath.fromPod(client, out());
      assert.deepEqual(packets(), { "66 ingress ALLOWED": 1 });
    });

    it(`… what the enforced ones deny stays denied, whatever the audited one would allow: ${family}`, async () => {
      set({}, { ingress: [], audited: { ingress: [fromClient] } });
      assert.equal((await datapath.fromPod(client, out())).reason, "POLICY_DENIED");
      assert.deepEqual(packets(), { "9001 ingress DENIED": 1 });
    });

    it(`… a rule that lets pass what the audited policy would deny counts too: ${family}`, async () => {
      set({}, { ingress: [fromClient], audited: { ingress: [fromClient, { protocol: TCP, port: 80, deny: true, cookie: 77 }] } });
      await datapath.fromPod(client, out());
      assert.deepEqual(packets(), { "22 ingress ALLOWED": 1, "77 ingress AUDITED": 1 });
    });
  }
});
