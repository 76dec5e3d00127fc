import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { DnsAccessMessage } from "../dns/protocol.ts";
import type { AccessMessage, AccessRecord } from "../protocol.ts";
import { accessLine } from "./access-line.ts";

const peer = { ip: "10.0.0.1", port: 1, identity: 2 };
const record: AccessMessage = {
  ...({ type: "access", time: 1.5, kind: "request", verdict: "FORWARDED", direction: "ingress", endpointId: 3 } as const),
  ...{ source: peer, destination: peer, policyRevision: 4, latencyNs: 5 },
  http: { method: "GET", url: "http://a/", protocol: "HTTP/1.1", code: 200, headers: [] },
};
const origins = [{ kind: "CiliumNetworkPolicy", namespace: "d", name: "n", section: "ingress", index: 0 }];

describe("access line", () => {
  const tricky = fc.string({ unit: "binary" });
  it("is the record's JSON, whatever is in its texts", () => {
    const arbitrary = fc.record({
      url: tricky,
      headers: fc.array(fc.record({ key: fc.constantFrom("accept", "x-a"), value: tricky }), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(arbitrary, fc.boolean(), (http, wide) => {
        const given: AccessMessage = { ...record, http: { ...record.http, ...http }, ...(wide ? { origins, missingHeaders: ["x"] } : {}) };
        assert.deepEqual(JSON.parse(accessLine(given)), JSON.parse(JSON.stringify(given)));
        assert.equal(accessLine(given).split("\n").length, 2);
      }),
      { numRuns: 300 },
    );
  });

  it("is the record's JSON when it is repeated, with its own time and latency", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ micros: fc.nat(2_000_000), latencyNs: fc.nat() })), (again) => {
        for (const { micros, latencyNs } of again) {
          const line = accessLine({ type: "repeated", like: record, time: micros / 1000, latencyNs });
          assert.deepEqual(JSON.parse(line), { ...record, time: JSON.parse(line).time, latencyNs });
          assert.ok(Math.abs(JSON.parse(line).time - micros / 1000) < 0.002);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("is the JSON of a DNS record, whatever the name", () => {
    const dns = { query: "", qtypes: ["A"], rcode: 0, ips: ["198.51.100.1"], ttl: 60, cnames: [], rrtypes: ["A"], source: "proxy" };
    const fixed = { ...record, http: undefined, type: "dns-access", kind: "response", protocol: "UDP" } as const;
    fc.assert(
      fc.property(tricky, fc.array(tricky, { maxLength: 2 }), fc.boolean(), (query, cnames, wide) => {
        const given: DnsAccessMessage = { ...fixed, dns: { ...dns, query, cnames }, ...(wide ? { origins } : {}) };
        assert.deepEqual(JSON.parse(accessLine(given)), JSON.parse(JSON.stringify(given)));
        assert.equal(accessLine(given).split("\n").length, 2);
      }),
      { numRuns: 300 },
    );
  });

  for (const [name, given] of [
    ["a denial", { ...record, verdict: "DROPPED", denied: { origins, nearest: [], reason: "policy" } }],
    ["an error", { ...record, verdict: "ERROR", error: "so" }],
    ["a TLS record", { ...record, type: "tls-access", tls: { serverName: "a", terminated: false } }],
  ] as const satisfies readonly (readonly [string, unknown])[]) {
    it(`writes ${name}`, () => {
      assert.deepEqual(JSON.parse(accessLine(given as AccessRecord)), JSON.parse(JSON.stringify(given)));
    });
  }
});
