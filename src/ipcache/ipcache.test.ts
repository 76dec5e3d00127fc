import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createDatabase } from "#statedb/database.ts";
import { IpAddress } from "#types/addr.ts";
import { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { type Claim, createIpcache } from "./ipcache.ts";

const claim = (prefix: string, identity: number, source: Claim["source"], owner: string): Claim => ({
  prefix: Prefix(prefix),
  identity: NumericIdentity(identity),
  source,
  owner,
});

describe("createIpcache", () => {
  it("takes the strongest source, and the next one when it is gone", () => {
    const ipcache = createIpcache(createDatabase());
    const identity = () => ipcache.table.get("10.0.0.7/32")?.identity;
    ipcache.claim(claim("10.0.0.7/32", 100, "policy", "cidr"));
    ipcache.claim(claim("10.0.0.7/32", 200, "endpoint", "default/a"));
    ipcache.claim(claim("10.0.0.7/32", 1, "node", "n1"));
    assert.equal(identity(), 1);
    ipcache.release(claim("10.0.0.7/32", 1, "node", "n1"));
    assert.equal(identity(), 200);
    ipcache.release(claim("10.0.0.7/32", 200, "endpoint", "default/a"));
    assert.equal(identity(), 100);
    ipcache.release(claim("10.0.0.7/32", 100, "policy", "cidr"));
    assert.equal(ipcache.table.size, 0);
  });
  it("keeps a reused address with its new owner when the old one's removal comes late", () => {
    const ipcache = createIpcache(createDatabase());
    ipcache.claim(claim("10.0.0.7/32", 200, "endpoint", "default/old"));
    ipcache.claim(claim("10.0.0.7/32", 300, "endpoint", "default/new"));
    assert.equal(ipcache.table.get("10.0.0.7/32")?.identity, 300);
    ipcache.release(claim("10.0.0.7/32", 200, "endpoint", "default/old"));
    assert.equal(ipcache.table.get("10.0.0.7/32")?.identity, 300);
  });
  it("finds the longest prefix", () => {
    const ipcache = createIpcache(createDatabase());
    ipcache.claim(claim("0.0.0.0/0", 2, "policy", "a"));
    ipcache.claim(claim("10.0.0.0/8", 10, "policy", "b"));
    ipcache.claim(claim("10.1.0.0/16", 11, "policy", "c"));
    ipcache.claim(claim("fd00::/64", 12, "policy", "d"));
    assert.equal(ipcache.lookup(IpAddress("10.1.2.3"))?.identity, 11);
    assert.equal(ipcache.lookup(IpAddress("10.2.2.3"))?.identity, 10);
    assert.equal(ipcache.lookup(IpAddress("11.2.2.3"))?.identity, 2);
    assert.equal(ipcache.lookup(IpAddress("fd00::1"))?.identity, 12);
    assert.equal(ipcache.lookup(IpAddress("fd01::1")), undefined);
  });
  it("does not touch the row when a claim says the same again", () => {
    const ipcache = createIpcache(createDatabase());
    ipcache.claim(claim("10.0.0.7/32", 200, "endpoint", "default/a"));
    const revision = ipcache.table.revision;
    ipcache.claim(claim("10.0.0.7/32", 200, "endpoint", "default/a"));
    assert.equal(ipcache.table.revision, revision);
  });
});
