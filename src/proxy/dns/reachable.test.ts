import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAddress } from "#types/addr.ts";
import { isReachable } from "./reachable.ts";

const reaches = (text: string): boolean => {
  const ip = parseAddress(text);
  assert.ok(ip !== undefined, text);
  return isReachable(ip);
};

test("a name leads to unicast addresses up to the last, and to private ones", () => {
  for (const ip of ["1.1.1.1", "10.0.0.1", "22.4.1.1", "100.64.0.1", "169.253.0.1", "219.255.0.1", "220.181.38.148", "223.5.5.5"])
    assert.equal(reaches(ip), true, ip);
  for (const ip of ["2001:db8::1", "fd00::1", "fec0::1", "::2"]) assert.equal(reaches(ip), true, ip);
});

test("no name leads to the node itself, its link, a cloud's metadata, or to groups", () => {
  for (const ip of [
    "0.0.0.0",
    "127.0.0.53",
    "169.254.169.254",
    "224.0.0.251",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
  ])
    assert.equal(reaches(ip), false, ip);
  for (const ip of [
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "fe80::a9fe:a9fe",
    "febf::1",
    "ff02::fb",
    "fd00:ec2::254",
    "fd20:ce::254",
  ])
    assert.equal(reaches(ip), false, ip);
});
