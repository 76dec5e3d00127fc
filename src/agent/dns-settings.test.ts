import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_DNS_SETTINGS } from "#proxy/dns/protocol.ts";
import { readFlags } from "#runtime/flags.ts";
import { dnsFlags, dnsSettings } from "./dns-settings.ts";

const settings = (...flags: string[]) => dnsSettings(readFlags(dnsFlags, flags, {}));

describe("dnsSettings", () => {
  it("are upstream's when nothing is set, and whole numbers when something is", () => {
    assert.deepEqual(settings(), DEFAULT_DNS_SETTINGS);
    const set = settings(
      "--tofqdns-dns-reject-response-code=nameerror",
      "--tofqdns-min-ttl=3600.5",
      "--tofqdns-idle-connection-grace-period=1m30s",
      "--tofqdns-endpoint-max-ip-per-hostname=50",
      "--tofqdns-max-deferred-connection-deletes=-1",
      "--dnsproxy-concurrency-limit=100",
    );
    assert.deepEqual(set, { rejectWith: "nameError", minTtl: 3600, grace: 90, maxIpsPerName: 50, maxDeferred: 0, maxCalls: 100 });
    assert.throws(() => settings("--tofqdns-dns-reject-response-code=drop"), /found "drop", allowed are refused and nameError/);
  });
});
