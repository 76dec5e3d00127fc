import { cidrLabels, type Families, labelledPrefixes } from "#identity/cidr.ts";
import type { Ipcache } from "#ipcache/ipcache.ts";
import type { CiliumCIDRGroup } from "#k8s/types.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { IpAddress } from "#types/addr.ts";
import { reservedIdentity } from "#types/identity.ts";
import { hostPrefix, Prefix, parsePrefix } from "#types/prefix.ts";
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

/** With both families, whatever nobody knows is the world of its family; with one it is the world, which the datapath assumes by itself. */
const WORLDS = [
  { prefix: Prefix("0.0.0.0/0"), identity: reservedIdentity.worldIpv4 },
  { prefix: Prefix("::/0"), identity: reservedIdentity.worldIpv6 },
] as const;

export function createPrefixes(deps: { readonly identities: Identities; readonly ipcache: Ipcache }, families: Families): Prefixes {
  const { identities, ipcache } = deps;
  const current = new Map<Prefix, LabelSet>();
  let rules: readonly Prefix[] = [];
  let groups: readonly CiliumCIDRGroup[] = [];
  let apiServers: readonly IpAddress[] = [];
  if (families.ipv4 && families.ipv6) for (const one of WORLDS) ipcache.claim({ ...one, source: "policy", owner: "worlds" });

  const desired = () => {
    const labelled = groups.map(({ metadata, spec }) => ({
      name: metadata.name,
      labels: metadata.labels ?? {},
      prefixes: (spec?.externalCIDRs ?? []).map(parsePrefix).filter((prefix) => prefix !== undefined),
    }));
    return labelledPrefixes(rules, labelled, apiServers.map(hostPrefix));
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
      // Most changes of rules name no other blocks than before.
      const known = new Set(rules);
      if (prefixes.length === known.size && prefixes.every((one) => known.has(one))) return;
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
