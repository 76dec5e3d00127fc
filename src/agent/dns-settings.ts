import type { DnsSettings } from "#proxy/dns/protocol.ts";
import { defineFlags, FlagError, type FlagValues } from "#runtime/flags.ts";

/** The agent's settings of names in policies and of the DNS proxy, by upstream's names and with upstream's defaults. */
export const dnsFlags = defineFlags({
  "tofqdns-dns-reject-response-code": {
    type: "string",
    default: "refused",
    help: "How names that no DNS rule allows are answered: refused or nameError.",
  },
  "tofqdns-min-ttl": { type: "number", default: 0, help: "Seconds for which a learned address is allowed at the least." },
  "tofqdns-idle-connection-grace-period": {
    type: "duration",
    default: 0,
    help: "How long after its time a learned address is allowed; five seconds at the least.",
  },
  "tofqdns-endpoint-max-ip-per-hostname": { type: "number", default: 1000, help: "Addresses that a pod keeps for one name." },
  "tofqdns-max-deferred-connection-deletes": {
    type: "number",
    default: 10_000,
    help: "Expired addresses that a pod keeps because connections use them.",
  },
  "dnsproxy-concurrency-limit": {
    type: "number",
    default: 0,
    help: "DNS questions of a node under way at a time, more are answered SERVFAIL; 65536, and 8192 of one pod, when 0.",
  },
  "dnsproxy-concurrency-processing-grace-period": { type: "unused", default: "", help: "Too many questions are refused at once." },
  "dnsproxy-enable-transparent-mode": { type: "unused", default: "", help: "DNS servers always see the pod's own address." },
  "dnsproxy-insecure-skip-transparent-mode-check": { type: "unused", default: "", help: "DNS servers always see the pod's own address." },
  "dnsproxy-lock-count": { type: "unused", default: "", help: "Names are learned without locks." },
  "dnsproxy-lock-timeout": { type: "unused", default: "", help: "Names are learned without locks." },
  "dnsproxy-socket-linger-timeout": {
    type: "unused",
    default: "",
    help: "The proxy asks from ports of its own, none has to be free again.",
  },
  "dns-max-ips-per-restored-rule": { type: "unused", default: "", help: "Rules are kept by identity, not by address." },
  "dns-policy-unload-on-shutdown": { type: "unused", default: "", help: "The proxy goes on with the last policy while no agent is there." },
  "enable-standalone-dns-proxy": { type: "unused", default: "", help: "The DNS proxy is always a process of its own." },
  "standalone-dns-proxy-server-port": { type: "unused", default: "", help: "Agent and proxy talk by --proxy-socket-path." },
  "fqdn-regex-compile-lru-size": { type: "unused", default: "", help: "Patterns are compiled once, with the policy." },
  "tofqdns-enable-dns-compression": { type: "unused", default: "", help: "Answers pass as the server wrote them." },
  "tofqdns-pre-cache": { type: "unused", default: "", help: "Learned names outlive restarts by themselves." },
  "tofqdns-preallocate-identities": { type: "unused", default: "", help: "A selector of names has its identity from the rule on." },
  "tofqdns-proxy-port": { type: "unused", default: "", help: "The port is 10053." },
  "tofqdns-proxy-response-max-delay": {
    type: "unused",
    default: "",
    help: "The kernel knows an answer's addresses before the answer leaves, always.",
  },
});

/** How the DNS proxy refuses and remembers. Throws `FlagError`. */
export function dnsSettings(config: FlagValues<typeof dnsFlags>): DnsSettings {
  const code = config["tofqdns-dns-reject-response-code"].toLowerCase();
  const rejectWith = (["refused", "nameError"] as const).find((one) => one.toLowerCase() === code);
  if (rejectWith === undefined) {
    throw new FlagError("bad-flag", `--tofqdns-dns-reject-response-code: found "${code}", allowed are refused and nameError`);
  }
  return {
    rejectWith,
    minTtl: atLeast(0, config["tofqdns-min-ttl"]),
    grace: Math.ceil(config["tofqdns-idle-connection-grace-period"] / 1000),
    maxIpsPerName: atLeast(1, config["tofqdns-endpoint-max-ip-per-hostname"]),
    maxDeferred: atLeast(0, config["tofqdns-max-deferred-connection-deletes"]),
    maxCalls: atLeast(0, config["dnsproxy-concurrency-limit"]),
  };
}

function atLeast(least: number, value: number): number {
  return Math.max(least, Math.trunc(value));
}
