import { MAGLEV_TABLE_SIZES } from "#loadbalancer/maglev.ts";
import { FlagError } from "#runtime/flags.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { type Prefix, parsePrefix } from "#types/prefix.ts";
import type { AgentConfig } from "./config.ts";

/** How this node balances, checked. */
export interface LbSettings {
  /** Whether all services are ours; else we translate cluster addresses for pods, packet by packet, and kube-proxy does the rest. */
  readonly enabled: boolean;
  /** Where programs connect: everywhere, in the node's own namespace, or nowhere. As upstream, replacement of kube-proxy implies it. */
  readonly sockets: "all" | "host" | "none";
  readonly mode: "snat" | "dsr" | "hybrid";
  readonly algorithm: "random" | "maglev";
  readonly maglevSize: number;
  readonly acceleration: "disabled" | "native" | "best-effort" | "testing-only";
  readonly externalClusterIp: boolean;
  /** loadBalancerSourceRanges are for all addresses of a service. */
  readonly sourceRangesForAll: boolean;
  /** Blocks of the addresses that CiliumLocalRedirectPolicies may name; all when empty. */
  readonly redirectable: readonly Prefix[];
  readonly nodePorts: { readonly first: number; readonly last: number };
  /** Blocks of the node's addresses that have node ports; all when empty. */
  readonly nodePortAddresses: readonly Prefix[];
  readonly loopback: { readonly ipv4: IpAddress; readonly ipv6: IpAddress };
}

/** Throws `FlagError` that names the flag, what was found and what is allowed. */
export function lbSettings(config: AgentConfig): LbSettings {
  const enabled = oneOf(config, "kube-proxy-replacement", ["true", "false"]) === "true";
  const size = config["bpf-lb-maglev-table-size"];
  if (!(MAGLEV_TABLE_SIZES as readonly number[]).includes(size)) refuse("bpf-lb-maglev-table-size", size, MAGLEV_TABLE_SIZES.join(", "));
  const mode = oneOf(config, "bpf-lb-mode", ["snat", "dsr", "hybrid"]);
  if (mode !== "snat") oneOf(config, "bpf-lb-dsr-dispatch", ["opt"]);
  const hostOnly = config["bpf-lb-sock-hostns-only"];
  return {
    enabled,
    sockets: !enabled && !config["bpf-lb-sock"] ? "none" : hostOnly ? "host" : "all",
    mode,
    algorithm: oneOf(config, "bpf-lb-algorithm", ["random", "maglev"]),
    maglevSize: size,
    acceleration: oneOf(config, "bpf-lb-acceleration", ["disabled", "native", "best-effort", "testing-only"]),
    externalClusterIp: config["bpf-lb-external-clusterip"],
    sourceRangesForAll: config["bpf-lb-source-range-all-types"],
    nodePorts: portRange(config["node-port-range"]),
    redirectable: prefixes(config, "lrp-address-matcher-cidrs"),
    nodePortAddresses: prefixes(config, "nodeport-addresses"),
    loopback: { ipv4: address(config, "ipv4-service-loopback-address"), ipv6: address(config, "ipv6-service-loopback-address") },
  };
}

type TextFlag = { [Name in keyof AgentConfig]: AgentConfig[Name] extends string ? Name : never }[keyof AgentConfig];

function oneOf<Value extends string>(config: AgentConfig, name: TextFlag, allowed: readonly Value[]): Value {
  return allowed.find((value) => value === config[name]) ?? refuse(name, config[name], allowed.join(", "));
}

function prefixes(config: AgentConfig, name: "nodeport-addresses" | "lrp-address-matcher-cidrs"): Prefix[] {
  return config[name].map((text) => parsePrefix(text) ?? refuse(name, text, "blocks such as 10.0.0.0/8"));
}

function address(config: AgentConfig, name: TextFlag): IpAddress {
  return parseAddress(config[name]) ?? refuse(name, config[name], "one address");
}

function portRange(texts: readonly string[]): { first: number; last: number } {
  const [first = 0, last = 0] = texts.flatMap((text) => text.split("-")).map(Number);
  const isRange = Number.isInteger(first) && Number.isInteger(last) && first > 0 && first <= last && last < 65_536;
  return isRange ? { first, last } : refuse("node-port-range", texts.join(","), "a first and a last port such as 30000,32767");
}

function refuse(name: string, found: unknown, allowed: string): never {
  throw new FlagError("bad-flag", `--${name}: found "${found}", allowed are ${allowed}`);
}
