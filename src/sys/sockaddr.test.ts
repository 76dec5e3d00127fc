import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressBytes, addressText, encodeSockaddr } from "./sockaddr.ts";

describe("addressBytes and addressText", () => {
  const same = ["10.0.0.1", "::", "::1", "fd00::5", "2001:db8:0:1::7", "fe80::1:0:0:1", "1:2:3:4:5:6:7:8", "1::"];
  for (const text of same) it(`keeps ${text}`, () => assert.equal(addressText(addressBytes(text)), text));

  it("reads IPv4 tails and refuses what is no address", () => {
    assert.equal(addressBytes("::ffff:10.0.0.1").toString("hex"), "00000000000000000000ffff0a000001");
    for (const bad of ["", "10.0.0", "fe80::1%eth0", "::g"]) assert.throws(() => addressBytes(bad), TypeError);
  });
});

describe("encodeSockaddr", () => {
  it("puts family, port and address where the kernel reads them", () => {
    assert.equal(encodeSockaddr("10.0.0.1", 80).toString("hex"), "020000500a0000010000000000000000");
    assert.equal(encodeSockaddr("::1", 443).toString("hex"), `0a0001bb00000000${"0".repeat(31)}100000000`);
  });
});
