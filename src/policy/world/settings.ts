import { type LabelFilterRule, parseLabelFilter } from "#labels/identity-labels.ts";
import { textsOf } from "../parse/fields.ts";
import { defaultSettings, type PolicySettings } from "../settings.ts";
import { identityOf, type SourcedObject } from "./objects.ts";

const flag = (text: string | undefined, otherwise: boolean) => (text === "true" || text === "false" ? text === "true" : otherwise);

function oneOf<Value extends string>(text: string | undefined, allowed: readonly Value[], otherwise: Value): Value {
  return allowed.find((value) => value === text) ?? otherwise;
}

/** What the keys of the ConfigMap `cilium-config` mean for policies; absent ones have their defaults. */
export function settingsFromConfig(data: Readonly<Record<string, string | undefined>>): PolicySettings {
  const modes = (data["policy-cidr-match-mode"] ?? "").split(/[\s,]+/);
  return {
    clusterName: data["cluster-name"] || defaultSettings.clusterName,
    ipv4: flag(data["enable-ipv4"], defaultSettings.ipv4),
    ipv6: flag(data["enable-ipv6"], defaultSettings.ipv6),
    enforcement: oneOf(data["enable-policy"], ["default", "always", "never"], defaultSettings.enforcement),
    allowLocalhost: oneOf(data["allow-localhost"], ["always", "policy"], defaultSettings.allowLocalhost),
    hostFirewall: flag(data["enable-host-firewall"], defaultSettings.hostFirewall),
    nodeSelectorLabels: flag(data["enable-node-selector-labels"], defaultSettings.nodeSelectorLabels),
    policyCidrMatchMode: (["nodes", "pods"] as const).filter((mode) => modes.includes(mode)),
    extendedIpProtocols: flag(data["enable-extended-ip-protocols"], defaultSettings.extendedIpProtocols),
    l7Proxy: flag(data["enable-l7-proxy"], defaultSettings.l7Proxy),
    icmpRules: flag(data["enable-icmp-rules"], defaultSettings.icmpRules),
    nonDefaultDenyPolicies: flag(data["enable-non-default-deny-policies"], defaultSettings.nonDefaultDenyPolicies),
    extensions: defaultSettings.extensions,
    l7Merge: oneOf(data["policy-l7-merge"], ["union", "restrict"], defaultSettings.l7Merge),
    dnsProxy: defaultSettings.dnsProxy,
    learnNames: defaultSettings.learnNames,
  };
}

/** The agents' settings as the ConfigMap among the objects has them, and their label filter. */
export function configOf(objects: readonly SourcedObject[]): {
  readonly settings: PolicySettings;
  readonly filter: readonly LabelFilterRule[];
  readonly data: Readonly<Record<string, string>>;
} {
  const found = objects.find(({ object }) => {
    const { kind, name } = identityOf(object);
    return kind === "ConfigMap" && name === "cilium-config";
  });
  const data = textsOf((found?.object as { data?: unknown } | undefined)?.data);
  return { settings: settingsFromConfig(data), filter: parseLabelFilter(data.labels ?? ""), data };
}
