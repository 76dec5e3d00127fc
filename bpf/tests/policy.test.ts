import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { EventType, PolicyMatchType } from "#datapath/gen/enums.ts";
import type { PacketSpec } from "#packet/build.ts";
import { type Datapath, openDatapath } from "./harness.ts";
import type { Pod, Rule } from "./maps.ts";
import { CLIENT, type Family, families, icmp, icmpOf, OTHER, SCTP, SERVER, sctp, TCP, tcp, UDP, udp } from "./words.ts";

type Probe = (from: Pod, to: Pod, family: Family) => PacketSpec;

const http: Probe = (from, to, family) => tcp(from, to, family, [40000, 80]);
const toPort =
  (port: number): Probe =>
  (from, to, family) =>
    tcp(from, to, family, [40000, port]);
const dns: Probe = (from, to, family) => udp(from, to, family, [40000, 53]);
const stream: Probe = (from, to, family) => sctp(from, to, family, [40000, 80]);
const ping: Probe = (from, to, family) => icmp(from, to, family, icmpOf[family].request);

interface Case {
  readonly name: string;
  /** The receiver's ingress entries, or the sender's egress entries when `egress`. Absent: not enforced. */
  readonly rules?: readonly Rule[];
  readonly egress?: boolean;
  readonly defaultAllow?: boolean;
  readonly audit?: boolean;
  readonly probe: Probe;
  /** Absent: it passes. */
  readonly reason?: string;
  /** What the verdict event says. */
  readonly cookie?: number;
  readonly match?: keyof typeof PolicyMatchType;
}

const peer = CLIENT;
const cases: readonly Case[] = [
  { name: "nothing is enforced: everything passes", probe: http },
  { name: "default deny denies", rules: [], probe: http, reason: "POLICY_DENIED", cookie: 9001, match: "NONE" },
  { name: "enforced without default deny: what no entry matches passes", rules: [], defaultAllow: true, probe: http, match: "ALL" },
  {
    name: "an allow of peer, protocol and port",
    rules: [{ peer, protocol: TCP, port: 80, cookie: 5 }],
    probe: http,
    cookie: 5,
    match: "L3_L4",
  },
  { name: "… not for another port", rules: [{ peer, protocol: TCP, port: 80 }], probe: toPort(81), reason: "POLICY_DENIED" },
  { name: "… not for another protocol", rules: [{ peer, protocol: UDP, port: 80 }], probe: http, reason: "POLICY_DENIED" },
  { name: "… not for another peer", rules: [{ peer: OTHER, protocol: TCP, port: 80 }], probe: http, reason: "POLICY_DENIED" },
  { name: "an allow of a peer covers every protocol and port", rules: [{ peer, cookie: 6 }], probe: dns, cookie: 6, match: "L3_ONLY" },
  { name: "… and ICMP", rules: [{ peer }], probe: ping, match: "L3_ONLY" },
  { name: "an allow of any peer on a port", rules: [{ protocol: TCP, port: 80, cookie: 7 }], probe: http, cookie: 7, match: "L4_ONLY" },
  { name: "an allow of everything", rules: [{ cookie: 8 }], probe: http, cookie: 8, match: "ALL" },
  { name: "an allow of a protocol", rules: [{ protocol: UDP }], probe: dns, match: "PROTO_ONLY" },
  { name: "… of a peer's protocol", rules: [{ peer, protocol: UDP }], probe: dns, match: "L3_PROTO" },
  { name: "SCTP has ports like the others", rules: [{ protocol: SCTP, port: 80 }], probe: stream, match: "L4_ONLY" },
  { name: "SCTP is not TCP", rules: [{ protocol: TCP, port: 80 }], probe: stream, reason: "POLICY_DENIED" },
  { name: "a range: the first port of it", rules: [{ protocol: TCP, port: 8080, portBits: 12 }], probe: toPort(8080) },
  { name: "a range: the last port of it", rules: [{ protocol: TCP, port: 8080, portBits: 12 }], probe: toPort(8095) },
  {
    name: "a range: the port after it",
    rules: [{ protocol: TCP, port: 8080, portBits: 12 }],
    probe: toPort(8096),
    reason: "POLICY_DENIED",
  },
  {
    name: "a range: the port before it",
    rules: [{ protocol: TCP, port: 8080, portBits: 12 }],
    probe: toPort(8079),
    reason: "POLICY_DENIED",
  },
  {
    name: "an explicit deny has a reason of its own",
    rules: [{ peer, deny: true, cookie: 11 }],
    probe: http,
    reason: "POLICY_DENY",
    cookie: 11,
  },
  {
    name: "a deny of any peer beats an allow of this one",
    rules: [{ protocol: TCP, port: 80, deny: true }, { peer }],
    probe: http,
    reason: "POLICY_DENY",
  },
  {
    name: "a deny of the peer beats an allow of the port",
    rules: [
      { peer, deny: true },
      { protocol: TCP, port: 80 },
    ],
    probe: http,
    reason: "POLICY_DENY",
  },
  {
    name: "a wide deny beats a narrow allow of any peer",
    rules: [
      { peer, protocol: TCP, deny: true },
      { protocol: TCP, port: 80 },
    ],
    probe: http,
    reason: "POLICY_DENY",
  },
  {
    name: "a higher precedence beats a deny below it",
    rules: [
      { peer, protocol: TCP, port: 80, precedence: 9, cookie: 12 },
      { protocol: TCP, port: 80, deny: true, precedence: 3 },
    ],
    probe: http,
    cookie: 12,
  },
  {
    name: "of equal precedence the longer match decides",
    rules: [
      { peer, cookie: 1 },
      { protocol: TCP, port: 80, cookie: 2 },
    ],
    probe: http,
    cookie: 2,
    match: "L4_ONLY",
  },
  {
    name: "of equal precedence and length the peer's own decides",
    rules: [
      { peer, protocol: TCP, port: 80, cookie: 1 },
      { protocol: TCP, port: 80, cookie: 2 },
    ],
    probe: http,
    cookie: 1,
    match: "L3_L4",
  },
  {
    name: "a port rule never admits ping",
    rules: [
      { protocol: TCP, port: 8 },
      { protocol: UDP, port: 8 },
    ],
    probe: ping,
    reason: "POLICY_DENIED",
  },
  { name: "an entry that wants authentication denies without it", rules: [{ peer, auth: 1 }], probe: http, reason: "AUTH_REQUIRED" },
  { name: "audit: what is denied passes and is reported", rules: [], audit: true, probe: http, match: "NONE" },
  { name: "egress: default deny denies", egress: true, rules: [], probe: http, reason: "POLICY_DENIED", cookie: 9002, match: "NONE" },
  {
    name: "egress: an allow of the receiver",
    egress: true,
    rules: [{ peer: SERVER, protocol: TCP, port: 80, cookie: 21 }],
    probe: http,
    cookie: 21,
  },
  {
    name: "egress: a deny of the receiver",
    egress: true,
    rules: [
      { peer: SERVER, deny: true },
      { peer: SERVER, protocol: TCP, port: 80 },
    ],
    probe: toPort(81),
    reason: "POLICY_DENY",
  },
];

describe("policy", () => {
  let datapath: Datapath;
  let client: Pod;
  let server: Pod;
  before(() => {
    datapath = openDatapath();
    client = datapath.addPod("client", CLIENT);
    server = datapath.addPod("server", SERVER);
  });
  after(() => datapath[Symbol.asyncDispose]());

  const prepare = (entry: Case): void => {
    datapath.maps.ct.clear();
    const policy = {
      ...(entry.rules ? { [entry.egress ? "egress" : "ingress"]: entry.rules } : {}),
      ...(entry.defaultAllow ? { defaultAllow: true } : {}),
      ...(entry.audit ? { audit: true } : {}),
    };
    datapath.maps.setPolicy(client, entry.egress ? policy : {});
    datapath.maps.setPolicy(server, entry.egress ? {} : policy);
  };

  for (const entry of cases) {
    for (const family of families) {
      it(`${entry.name}: ${family}`, async () => {
        prepare(entry);
        const outcome = await datapath.fromPod(client, entry.probe(client, server, family));
        assert.equal(outcome.reason, entry.reason);
        assert.equal(outcome.verdict, entry.reason ? "drop" : "redirect");
        const verdict = outcome.events.find(({ type }) => type === EventType.POLICY_VERDICT);
        assert.equal(verdict !== undefined, entry.rules !== undefined, "a verdict is reported when, and only when, policy is enforced");
        if (entry.cookie !== undefined) assert.equal(verdict?.cookie, entry.cookie);
        if (entry.match !== undefined) assert.equal(verdict?.matchType, PolicyMatchType[entry.match]);
      });
    }
  }

  for (const family of families) {
    it(`ICMP is judged by its type, for every type but those of live flows: ${family}`, async () => {
      const { protocol, request, reply } = icmpOf[family];
      for (const type of [request, reply, 13, 42]) {
        prepare({ name: "", rules: [{ protocol, port: request }], probe: ping });
        const outcome = await datapath.fromPod(client, icmp(client, server, family, type));
        assert.equal(outcome.reason, type === request ? undefined : "POLICY_DENIED", `type ${type}`);
      }
    });

    it(`the receiver on another node is judged by egress alone, one here by both: ${family}`, async () => {
      prepare({ name: "", rules: [{ peer: OTHER }], probe: http });
      datapath.maps.setPolicy(client, { egress: [{ peer: SERVER }] });
      const outcome = await datapath.fromPod(client, http(client, server, family));
      assert.equal(outcome.reason, "POLICY_DENIED");
      const verdicts = outcome.events.filter(({ type }) => type === EventType.POLICY_VERDICT);
      assert.deepEqual(
        verdicts.map(({ lxcId, direction, verdict }) => [lxcId, direction, verdict]),
        [
          [client.lxcId, 2, 0],
          [server.lxcId, 1, -133],
        ],
      );
    });
  }
});
