import { cidrGroupLabels, cidrLabels, type Families } from "#identity/cidr.ts";
import type { Ipcache } from "#ipcache/ipcache.ts";
import type { CiliumCIDRGroup } from "#k8s/types.ts";
import { type Label, label } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { IpAddress } from "#types/addr.ts";
import { hostPrefix, type Prefix, parsePrefix, prefixParts } from "#types/prefix.ts";
import type { Identities } from "./identities.ts";

/** Address blocks outside that policies speak of: each gets an identity of this node, and the ipcache learns of it. */
export interface Prefixes {
  /** The blocks that rules name. */
  setRules(prefixes: readonly Prefix[]): void;
  setGroups(groups: readonly CiliumCIDRGroup[]): void;
  /** API servers that are no node of the cluster. */
  setApiServers(addresses: readonly IpAddress[]): void;
}

const OWNER = "prefixes";

export function createPrefixes(deps: { readonly identities: Identities; readonly ipcache: Ipcache }, families: Families): Prefixes {
  const { identities, ipcache } = deps;
  const current = new Map<Prefix, LabelSet>();
  let rules: readonly Prefix[] = [];
  let groups: readonly CiliumCIDRGroup[] = [];
  let apiServers: readonly IpAddress[] = [];

  const desired = () => {
    const extra = new Map<Prefix, Label[]>(rules.map((prefix) => [prefix, []]));
    const add = (prefix: Prefix, labels: readonly Label[]) => extra.set(prefix, [...(extra.get(prefix) ?? []), ...labels]);
    for (const group of groups) {
      const labels = cidrGroupLabels(group.metadata.name, group.metadata.labels ?? {});
      for (const text of group.spec?.externalCIDRs ?? []) {
        const prefix = parsePrefix(text);
        if (prefix) add(prefix, labels);
      }
    }
    for (const address of apiServers) add(hostPrefix(address), [label("kube-apiserver", "", "reserved")]);
    // A block of length zero is the world, which the datapath assumes of whatever it does not know.
    return [...extra].filter(([prefix, labels]) => prefixParts(prefix).bits > 0 || labels.length > 0);
  };
  const reconcile = () => {
    const wanted = new Map(desired().map(([prefix, extra]) => [prefix, cidrLabels(prefix, families, extra)]));
    for (const [prefix, labels] of wanted) {
      const old = current.get(prefix);
      if (old?.key === labels.key) continue;
      const identity = identities.acquireLocal(labels);
      ipcache.claim({ prefix, identity, source: "policy", owner: OWNER });
      if (old) identities.releaseLocal(old);
      current.set(prefix, labels);
    }
    for (const [prefix, labels] of [...current]) {
      if (wanted.has(prefix)) continue;
      ipcache.release({ prefix, source: "policy", owner: OWNER });
      identities.releaseLocal(labels);
      current.delete(prefix);
    }
  };
  return {
    setRules(prefixes) {
      rules = prefixes;
      reconcile();
    },
    setGroups(next) {
      groups = next;
      reconcile();
    },
    setApiServers(addresses) {
      apiServers = addresses;
      reconcile();
    },
  };
}
