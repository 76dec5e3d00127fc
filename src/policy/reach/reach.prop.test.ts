import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { judge } from "../world/connection.ts";
import { memorySource } from "../world/objects.ts";
import { findSame, type Party } from "../world/party.ts";
import { createWorld, type World } from "../world/world.ts";
import { compareWorlds } from "./compare.ts";
import { isPair, partiesOf } from "./parties.ts";
import { protocolsOf, reachesOf } from "./reach.ts";
import { otherProtocols, type Reach } from "./span.ts";

const apps = ["web", "api", "db"];
const pods = apps.map((app) => ({
  kind: "Deployment",
  metadata: { name: app, namespace: "shop" },
  spec: { template: { metadata: { labels: { app } }, spec: { containers: [{ ports: [{ name: "http", containerPort: 8080 }] }] } } },
}));

const selector = fc.constantFrom(...apps).map((app) => ({ matchLabels: { app } }));
const port = fc.oneof(
  fc.record({ port: fc.constantFrom("80", "8080", "http"), protocol: fc.constantFrom("TCP", "UDP", "ANY") }),
  fc.record({ port: fc.constant("1000"), endPort: fc.constantFrom(1001, 2047, 5000), protocol: fc.constant("TCP") }),
);
const blocks = fc.constantFrom("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "192.0.2.1/32");
const peers = (way: "from" | "to") =>
  fc.oneof(
    fc.array(fc.oneof(selector, fc.constant({})), { maxLength: 2 }).map((list) => ({ [`${way}Endpoints`]: list })),
    blocks.map((cidr) => ({ [`${way}CIDR`]: [cidr] })),
    fc.constantFrom("all", "world", "host", "cluster").map((name) => ({ [`${way}Entities`]: [name] })),
    fc.constant({}),
  );
const ports = fc.option(
  fc.array(port, { minLength: 1, maxLength: 2 }).map((list) => ({ toPorts: [{ ports: list }] })),
  { nil: {} },
);
const entry = (way: "from" | "to") => fc.tuple(peers(way), ports).map(([left, right]) => ({ ...left, ...right }));
const policy = fc.record({
  endpointSelector: fc.oneof(selector, fc.constant({})),
  ingress: fc.array(entry("from"), { minLength: 1, maxLength: 2 }),
  ingressDeny: fc.array(entry("from"), { maxLength: 1 }),
  egress: fc.array(entry("to"), { maxLength: 2 }),
});
const policies = fc.array(policy, { maxLength: 3 });

function worldOf(specs: readonly object[]): World {
  const objects = specs.map((spec, i) => ({ kind: "CiliumNetworkPolicy", metadata: { name: `p${i}`, namespace: "shop" }, spec }));
  return createWorld([...pods, ...objects].map((object) => ({ object, source: memorySource("test") })));
}

const numbers = [80, 81, 999, 1000, 1001, 1002, 2047, 2048, 5000, 5001, 8080, 65535];
const flows: readonly (readonly [protocol: number, port: number])[] = [
  ...numbers.map((number): [number, number] => [6, number]),
  [17, 80],
  [17, 8080],
  [132, 80],
  [1, 8],
  [otherProtocols, 0],
];

const has = (reach: Reach, [protocol, number]: readonly [number, number]) =>
  reach.some((one) => one.protocol === protocol && one.first <= number && number <= one.last);

describe("reachesOf", () => {
  it("says of every port what a judgement of it says", () => {
    fc.assert(
      fc.property(policies, (specs) => {
        const world = worldOf(specs);
        const reaches = reachesOf(world, protocolsOf(world));
        const parties = partiesOf(world);
        for (const from of parties) {
          for (const to of parties.filter((one) => isPair(world, from, one))) {
            const reach = reaches.between(from, to);
            for (const [protocol, number] of flows) {
              const { allowed } = judge(world, { from, to, protocol, port: number });
              assert.equal(
                has(reach, [protocol, number]),
                allowed,
                `${from.title} → ${to.title} ${number}/${protocol}: ${JSON.stringify(specs)}`,
              );
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("compareWorlds", () => {
  it("names each port whose verdict changed, and none else", () => {
    fc.assert(
      fc.property(policies, policies, (old, now) => {
        const [before, after] = [worldOf(old), worldOf(now)];
        const changes = compareWorlds(before, after);
        const listed = (kind: string, from: Party, to: Party, flow: readonly [number, number]) =>
          changes.some((one) => one.kind === kind && one.from.includes(from) && one.to.includes(to) && has(one.spans, flow));
        const titled = new Map(changes.flatMap(({ from, to }) => [...from, ...to]).map((one) => [one.title, one]));
        const parties = partiesOf(before, after).map((one) => titled.get(one.title) ?? one);
        for (const from of parties) {
          for (const to of parties.filter((one) => isPair(before, from, one))) {
            for (const [protocol, number] of flows) {
              const was = judge(before, { from, to, protocol, port: number }).allowed;
              const is = judge(after, { from: findSame(after, from), to: findSame(after, to), protocol, port: number }).allowed;
              const found = [listed("denied", from, to, [protocol, number]), listed("allowed", from, to, [protocol, number])];
              assert.deepEqual(found, [was && !is, is && !was], `${from.title} → ${to.title} ${number}/${protocol}`);
            }
          }
        }
      }),
      { numRuns: 25 },
    );
  });
});
