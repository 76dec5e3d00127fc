import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressFromBytes, addressToBytes, IpAddress, parseAddress } from "./addr.ts";
import { formatDuration, Minutes, parseDuration, Seconds } from "./duration.ts";
import { identityScope, NumericIdentity } from "./identity.ts";
import { macFromBytes, macToBytes, parseMac } from "./mac.ts";
import { Prefix, parsePrefix, prefixContains, prefixHas, prefixToBytes } from "./prefix.ts";
import { formatProtocol, parseProtocol } from "./proto.ts";

describe("parseAddress", () => {
  it("gives one text for every spelling of an address", () => {
    const cases: [string, string | undefined][] = [
      ["10.0.0.1", "10.0.0.1"],
      ["::ffff:10.0.0.1", "10.0.0.1"],
      ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
      ["::", "::"],
      ["::1", "::1"],
      ["fe80::", "fe80::"],
      ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
      ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
      ["010.0.0.1", undefined],
      ["10.0.0", undefined],
      ["1::2::3", undefined],
      ["1:2:3:4:5:6:7", undefined],
      ["fe80::1%eth0", undefined],
    ];
    for (const [text, wanted] of cases) assert.equal(parseAddress(text), wanted, text);
  });

  it("survives the way through the datapath's 16 bytes", () => {
    for (const text of ["10.0.0.1", "2001:db8::1", "::"]) assert.equal(addressFromBytes(addressToBytes(IpAddress(text))), text);
  });
});

describe("Prefix", () => {
  it("drops host bits and refuses what is no block", () => {
    assert.equal(Prefix("10.1.2.3/8"), "10.0.0.0/8");
    assert.equal(Prefix("2001:db8::1/33"), "2001:db8::/33");
    for (const text of ["10.0.0.1", "10.0.0.0/33", "10.0.0.0/08", "/8", "10.0.0.0/8/8"]) assert.equal(parsePrefix(text), undefined, text);
  });

  it("contains narrower blocks of its own family", () => {
    assert.ok(prefixContains(Prefix("10.0.0.0/9"), Prefix("10.127.0.0/16")));
    assert.ok(!prefixContains(Prefix("10.0.0.0/9"), Prefix("10.128.0.0/16")));
    assert.ok(!prefixContains(Prefix("10.0.0.0/8"), Prefix("0.0.0.0/0")));
    assert.ok(!prefixContains(Prefix("::/0"), Prefix("10.0.0.0/8")));
    assert.ok(prefixHas(Prefix("0.0.0.0/0"), IpAddress("10.0.0.1")));
    assert.equal(prefixToBytes(Prefix("10.0.0.0/8")).bits, 104);
  });
});

describe("small values", () => {
  it("reads and writes them", () => {
    assert.equal(parseDuration("1h30m"), Minutes(90));
    assert.equal(parseDuration("soon"), undefined);
    assert.equal(formatDuration(Minutes(90)), "1h30m0s");
    assert.equal(formatDuration(Seconds(0.25)), "250ms");
    assert.equal(parseProtocol("icmpv6"), 58);
    assert.equal(formatProtocol(99), "proto-99");
    assert.equal(identityScope(NumericIdentity(16777217)), "local-cidr");
    assert.throws(() => NumericIdentity(-1), RangeError);
    const mac = parseMac("0A-00-00-00-00-01");
    assert.equal(mac, "0a:00:00:00:00:01");
    assert.equal(mac && macFromBytes(macToBytes(mac)), mac);
  });
});
