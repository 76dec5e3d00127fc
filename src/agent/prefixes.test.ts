import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createIpcache } from "#ipcache/ipcache.ts";
import { silentLogger } from "#runtime/logger.ts";
import { createDatabase } from "#statedb/database.ts";
import { IpAddress } from "#types/addr.ts";
import { Prefix } from "#types/prefix.ts";
import { createIdentities } from "./identities.ts";
import { createPrefixes } from "./prefixes.ts";

const FIRST_LOCAL = 16_777_217;

describe("createPrefixes", () => {
  const identityOf = (families: { ipv4: boolean; ipv6: boolean }, ip: string) => {
    const db = createDatabase();
    const ipcache = createIpcache(db);
    const identities = createIdentities({ db, cluster: undefined as never, log: silentLogger, inUse: () => false });
    createPrefixes({ identities, ipcache }, families).setRules([Prefix("0.0.0.0/0"), Prefix("10.0.0.0/8")]);
    return ipcache.lookup(IpAddress(ip))?.identity;
  };

  it("takes what nobody knows for the world of its family where there are two", () => {
    const both = { ipv4: true, ipv6: true };
    assert.deepEqual(
      ["192.0.2.1", "2001:db8::1", "10.1.1.1"].map((ip) => identityOf(both, ip)),
      [9, 10, FIRST_LOCAL],
    );
    assert.equal(identityOf({ ipv4: true, ipv6: false }, "192.0.2.1"), undefined);
  });
});
