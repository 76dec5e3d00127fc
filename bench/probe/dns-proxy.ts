import { openSync, writeSync } from "node:fs";
import { maps } from "#datapath/gen/maps.ts";
import { openBpf } from "#ebpf/kernel.ts";
import { createAccessStream } from "#proxy/control/access-stream.ts";
import { DEFAULT_DNS_PROXY_CONFIG, startDnsProxy } from "#proxy/dns/dns-proxy.ts";
import { createGrants } from "#proxy/dns/grants.ts";
import type { DnsPolicyMessage } from "#proxy/dns/protocol.ts";
import { DEFAULT_PROXY_CONFIG } from "#proxy/proxy.ts";
import { createLogger } from "#runtime/logger.ts";
import { monotonicNs } from "#sys/clock.ts";

/** The DNS proxy alone, with a map of its own in the kernel: `dns-proxy.ts DIRECTORY POLICY-AS-JSON`. Its records are made and thrown away. */
const [directory = "", policy = ""] = process.argv.slice(2);
const records = createAccessStream(DEFAULT_PROXY_CONFIG.recordCapacity, (flush) => void setTimeout(flush, 5));
const nobody = openSync("/dev/null", "w");
records.connect({ write: (lines) => writeSync(nobody, lines) > 0 });
const map = openBpf().createMap(maps.ciliumFqdn);
const proxy = await startDnsProxy(
  {
    log: createLogger("dns"),
    records,
    grants: createGrants(() => map),
    identityOf: () => 40_001,
    findLive: async () => new Set(),
    now: () => Number(monotonicNs() / 1_000_000_000n),
  },
  { ...DEFAULT_DNS_PROXY_CONFIG, ipv6: false, statePath: `${directory}/policy`, cachePath: `${directory}/cache` },
);
proxy.handlers["dns-policy"]?.(JSON.parse(policy) as DnsPolicyMessage, (answer) => process.stdout.write(`${answer.type}\n`));
