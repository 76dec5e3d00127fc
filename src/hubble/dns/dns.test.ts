import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encode } from "dns-packet";
import { type Flow, Verdict } from "#api/gen/flow/flow_pb.ts";
import { l7Event } from "#monitor/access.ts";
import type { L7Event, PacketEvent } from "#monitor/events.ts";
import { buildPacket } from "#packet/build.ts";
import { silentLogger } from "#runtime/logger.ts";
import { IpAddress } from "#types/addr.ts";
import { DEATHSTAR, DEATHSTAR_IP, DEMO_TIME, demoNames, packetEvent } from "../fixtures.ts";
import { type Observer, startObserver } from "../observer/observer.ts";
import { typeCell } from "../printer/cells.ts";

const questions = [{ type: "A", name: "API.stripe.com" }] as const;
const answers = [
  { type: "CNAME", name: "api.stripe.com", data: "edge.stripe.com", ttl: 60 },
  { type: "A", name: "edge.stripe.com", data: "198.51.100.20", ttl: 30 },
] as const;
const question = encode({ type: "query", id: 7, questions: [...questions] });
const answer = encode({ type: "response", id: 7, questions: [...questions], answers: [...answers] });

const SERVER = "10.0.9.9";

function dnsEvent(payload: Uint8Array, changes: Partial<PacketEvent> = {}, response = false): PacketEvent {
  const [source, destination] = response ? [SERVER, DEATHSTAR_IP] : [DEATHSTAR_IP, SERVER];
  const [sourcePort, destinationPort] = response ? [53, 40000] : [40000, 53];
  const packet = buildPacket({
    ethernet: {},
    ip: { source: IpAddress(source), destination: IpAddress(destination) },
    udp: { sourcePort, destinationPort },
    payload,
  });
  const reply = response ? { isReply: true, ctReason: 2, direction: "ingress" as const } : { direction: "egress" as const };
  return packetEvent({ packet, sourceIdentity: DEATHSTAR.identity, destinationEndpointId: 0, ...reply, ...changes });
}

function flowsOf({ ring }: Observer): Flow[] {
  const flows: Flow[] = [];
  for (let at = ring.oldest; at < ring.written; at++) {
    const entry = ring.at(at);
    if (entry?.kind === "flow") flows.push(entry.flow);
  }
  return flows;
}

/** The pod calls an address of the world. */
function callEvent(ip: string): PacketEvent {
  const ends = { source: IpAddress(DEATHSTAR_IP), destination: IpAddress(ip) };
  const packet = buildPacket({ ethernet: {}, ip: ends, tcp: { sourcePort: 1, destinationPort: 443 } });
  const identities = { sourceIdentity: DEATHSTAR.identity, destinationIdentity: 2, destinationEndpointId: 0 };
  return packetEvent({ packet, direction: "egress", ...identities });
}

function proxyAnswer(ips: readonly string[], time: bigint): L7Event {
  const dns = { query: "api.stripe.com.", qtypes: ["A"], rcode: 0, ips, ttl: 30, cnames: [], rrtypes: ["A"], source: "proxy" as const };
  const end = { port: 53, identity: 2 };
  return l7Event({
    ...{ type: "dns-access", kind: "response", verdict: "FORWARDED", direction: "egress", protocol: "UDP", dns },
    ...{ time: Number(time / 1_000_000n), endpointId: DEATHSTAR.id, latencyNs: 1, policyRevision: 1 },
    source: { ...end, ip: DEATHSTAR_IP },
    destination: { ...end, ip: SERVER },
  });
}

const namesOf = (observer: Observer) =>
  flowsOf(observer).flatMap(({ l7, destinationNames }) => (l7 === undefined ? [destinationNames] : []));
const watching = () => startObserver({ names: demoNames(), log: silentLogger, version: "v" }, { capacity: 63 });
const dnsFlows = (observer: Observer) => flowsOf(observer).filter(({ l7 }) => l7 !== undefined);

describe("DNS in passing", () => {
  it("is a flow of its own, once, besides the packet's", () => {
    const observer = watching();
    observer.push(dnsEvent(question));
    observer.push(dnsEvent(question, { subtype: 3 }));
    observer.push(dnsEvent(answer, {}, true));
    const shown = dnsFlows(observer).map((flow) => `${typeCell(flow)} ${flow.verdict === Verdict.FORWARDED} ${flow.Summary}`);
    assert.deepEqual(shown, [
      "dns-request  true DNS Query api.stripe.com. A",
      'dns-response  true DNS Answer "198.51.100.20" CNAMEs: "edge.stripe.com." TTL: 30 (api.stripe.com. A)',
    ]);
    assert.equal(flowsOf(observer).length, 5);
  });

  it("says when an answer was too long to be captured", () => {
    const observer = watching();
    observer.push(dnsEvent(answer.subarray(0, 40), {}, true));
    assert.equal(dnsFlows(observer).at(-1)?.Summary, "DNS Answer not captured (api.stripe.com. A)");
  });

  it("names the address in later flows of the pod that asked", () => {
    const observer = watching();
    observer.push(dnsEvent(answer, {}, true));
    observer.push(callEvent("198.51.100.20"));
    assert.deepEqual(flowsOf(observer).at(-1)?.destinationNames, ["api.stripe.com"]);
  });

  it("names a flow that was here before the proxy's word of the answer, and nobody else's", () => {
    const learned = new Set<string>();
    const names = demoNames({ dnsNames: (id, ip) => (learned.has(`${id} ${ip}`) ? ["api.stripe.com"] : []) });
    const observer = startObserver({ names, log: silentLogger, version: "v" }, { capacity: 63 });
    for (const ip of ["198.51.100.20", "198.51.100.21"]) observer.push(callEvent(ip));
    learned.add(`${DEATHSTAR.id} 198.51.100.20`);
    observer.push(proxyAnswer(["198.51.100.20"], DEMO_TIME + 5_000_000_000n));
    assert.deepEqual(namesOf(observer), [[], []], "seconds before the answer");
    observer.push(proxyAnswer(["198.51.100.20"], DEMO_TIME - 5_000_000n));
    assert.deepEqual(namesOf(observer), [["api.stripe.com"], []]);
  });

  it("leaves to the proxy what goes to the proxy, and to other nodes what their pods ask", () => {
    const observer = watching();
    observer.push(dnsEvent(question, { subtype: 1, verdict: 10002 }));
    const foreign = buildPacket({
      ethernet: {},
      ip: { source: IpAddress("10.0.2.7"), destination: IpAddress(DEATHSTAR_IP) },
      udp: { sourcePort: 40000, destinationPort: 53 },
      payload: question,
    });
    observer.push(packetEvent({ packet: foreign }));
    assert.deepEqual(dnsFlows(observer), []);
  });
});
