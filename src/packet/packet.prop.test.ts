import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { IpAddress } from "#types/addr.ts";
import { buildPacket } from "./build.ts";
import { parsePacket } from "./parse.ts";

const samples = ["10.0.0.1", "fd00::1"].map((address) =>
  buildPacket({
    ethernet: {},
    ip: { source: IpAddress(address), destination: IpAddress(address) },
    icmp: { type: 3 },
    payload: buildPacket({
      ip: { source: IpAddress(address), destination: IpAddress(address) },
      tcp: { sourcePort: 1, destinationPort: 2 },
    }),
  }),
);

it("parsePacket never throws: random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom("ethernet" as const, "ip" as const), (bytes, link) => {
      assert.ok(parsePacket(bytes, { link }).payload.length <= bytes.length);
    }),
    { numRuns: 500 },
  );
});

it("parsePacket never throws: real packets, changed and cut", () => {
  const changes = fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...samples), changes, fc.nat(130), (sample, edits, length) => {
      const bytes = sample.slice(0, length);
      for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
      parsePacket(bytes);
    }),
    { numRuns: 1000 },
  );
});
