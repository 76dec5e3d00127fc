import assert from "node:assert/strict";
import { test } from "node:test";
import type { DnsCacheEntry } from "#proxy/dns/protocol.ts";
import { filterOf } from "./fqdn-view.ts";

const entry: DnsCacheEntry = {
  ...{ endpointId: 7, name: "api.stripe.com.", ips: [], ttl: 30, lookupTime: 0, expires: 0 },
  source: "lookup",
};
const filter = (query: string, id?: string) => filterOf({ query: new URLSearchParams(query), parameters: id === undefined ? [] : [id] });

test("learned names are found by endpoint, source and pattern", () => {
  for (const [query, id] of [[""], ["source="], ["source=lookup"], ["matchpattern=*.stripe.com"], ["", "7"]] as const)
    assert.equal(filter(query, id)(entry), true, query);
  for (const [query, id] of [["source=connection"], ["matchpattern=stripe.com"], ["", "8"]] as const)
    assert.equal(filter(query, id)(entry), false, query);
});

test("what no learned name can have is refused, and the answer says what is allowed", () => {
  assert.throws(() => filter("source=lookups"), /found "lookups", allowed are lookup and connection/);
  assert.throws(() => filter("matchpattern=["), /has a character that is not allowed/);
  assert.throws(() => filter("", "client"), /found "client", needed is its number/);
});
