/** The agent's settings that decide what policies mean. */
export type PolicySettings = {
  readonly clusterName: string;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** `policyEnforcement`: enforce where a rule selects the endpoint, everywhere, or nowhere. */
  readonly enforcement: "default" | "always" | "never";
  /** Whether traffic from the node itself is allowed to its endpoints unless denied. */
  readonly allowLocalhost: "always" | "policy";
  readonly hostFirewall: boolean;
  /** Whether `fromNodes` and `toNodes` may be used. */
  readonly nodeSelectorLabels: boolean;
  /** What address blocks may match besides the world. */
  readonly policyCidrMatchMode: readonly ("nodes" | "pods")[];
  /** Whether a port entry may name a protocol without ports. */
  readonly extendedIpProtocols: boolean;
  readonly l7Proxy: boolean;
  readonly icmpRules: boolean;
  /** Whether `enableDefaultDeny` counts; without it every rule denies by default, in both directions. */
  readonly nonDefaultDenyPolicies: boolean;
  /** Whether Cilia's own extensions of the language are accepted (SEMANTICS §1); each use is a portability warning. */
  readonly extensions: boolean;
  /** `restrict`: an L7 rule wins over a wider allow of the same peer and port instead of being widened by it. */
  readonly l7Merge: "union" | "restrict";
  /** Whether a proxy for DNS is there. Without one, DNS rules allow DNS at L4. */
  readonly dnsProxy: boolean;
  /** Whether the DNS of endpoints with `toFQDNs` goes through the proxy although no rule says so: names are learned without `rules.dns`. */
  readonly learnNames: boolean;
};

/** The settings of an agent that is not told otherwise. */
export const defaultSettings: PolicySettings = {
  clusterName: "default",
  ipv4: true,
  ipv6: false,
  enforcement: "default",
  allowLocalhost: "always",
  hostFirewall: false,
  nodeSelectorLabels: false,
  policyCidrMatchMode: [],
  extendedIpProtocols: false,
  l7Proxy: true,
  icmpRules: true,
  nonDefaultDenyPolicies: true,
  extensions: true,
  l7Merge: "union",
  dnsProxy: true,
  learnNames: false,
};

/** The default settings with some changed. */
export function settingsWith(changes: Partial<PolicySettings>): PolicySettings {
  return { ...defaultSettings, ...changes };
}
