import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePort } from "./connection.ts";

describe("parsePort", () => {
  it("takes numbers, names and ICMP types with a protocol, and nothing else", () => {
    const texts = (...all: string[]) => all.filter((text) => parsePort(text) !== undefined);
    const good = ["1", "65535", "53/udp", "http", "dns/udp", "icmp", "0/icmp", "128/icmpv6", "vrrp"];
    assert.deepEqual(texts(...good), good);
    assert.deepEqual(
      texts("", "0", "65536", "0/udp", "80/tcp/udp", "any", "80/any", "300/icmp", "http/icmp", "80/vrrp", "80-90", "80/x"),
      [],
    );
  });
});
