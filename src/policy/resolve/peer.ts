import { type FqdnSelector, fqdnLabelKey } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import { type Prefix, prefixParts } from "#types/prefix.ts";
import type { PeerSelector } from "../rule.ts";
import type { PolicySettings } from "../settings.ts";

/** Everybody. */
export const anyPeer: PeerSelector = { text: "any", any: true, none: false, requirements: [], except: [] };

/** Nobody. */
export const noPeer: PeerSelector = { text: "none", any: false, none: true, requirements: [], except: [] };

/** Peers by their labels, less the blocks in `except`. */
export function labelPeer(requirements: readonly Requirement[], except: readonly Prefix[] = []): PeerSelector {
  const selector = selectorOf(requirements);
  const less = except.length === 0 ? "" : ` except ${[...except].sort().join(",")}`;
  return { text: `${selector.text}${less}`, any: false, none: false, requirements: selector.requirements, except };
}

const reservedPeers = new Map<string, PeerSelector>();

/** The peers of a reserved label; one object for each, as every policy has some of them. */
function reserved(name: string): PeerSelector {
  const peer = reservedPeers.get(name) ?? labelPeer([requirement(`reserved:${name}`, "Exists")]);
  reservedPeers.set(name, peer);
  return peer;
}

/** Peers by address block: identities of blocks within it. A zero-length block is the world of its family. */
export function cidrPeer(prefix: Prefix, except: readonly Prefix[], settings: PolicySettings): PeerSelector {
  const { bits, family } = prefixParts(prefix);
  const less = except.length === 0 ? "" : ` except ${[...except].sort().join(",")}`;
  const text = `cidr:${prefix}${less}`;
  if (bits > 0) return { text, any: false, none: false, requirements: [], within: prefix, except };
  const on = family === 4 ? settings.ipv4 : settings.ipv6;
  // Nobody carries the label of a family that is off, but policy maps have rows for its identity, as Cilium's.
  if (!on) return labelPeer([requirement(`reserved:world-ipv${family}`, "Exists")], except);
  const split = settings.ipv4 && settings.ipv6;
  const world = requirement(split ? `reserved:world-ipv${family}` : "reserved:world", "Exists");
  const peer = labelPeer([world], except);
  // Where blocks may match pods, the block of all addresses does; it never matches nodes.
  return !settings.policyCidrMatchMode.includes("pods") ? peer : { ...peer, text: `${peer.text} or ipv${family}`, orFamily: family };
}

/** Peers learned by name. */
export function fqdnPeer(fqdn: FqdnSelector): PeerSelector {
  const key = fqdnLabelKey(fqdn);
  return {
    text: `fqdn:${key}`,
    any: false,
    none: false,
    requirements: [{ source: "fqdn", key, operator: "Exists", values: [] }],
    except: [],
    fqdn,
  };
}

/** The words that stand for groups of peers. `dns` is Cilia's own. */
export const entities = [
  "all",
  "world",
  "world-ipv4",
  "world-ipv6",
  "cluster",
  "cluster-mesh",
  "host",
  "init",
  "ingress",
  "unmanaged",
  "remote-node",
  "health",
  "none",
  "kube-apiserver",
] as const;

const infrastructure = ["host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"];

/** The peers that an entity stands for. */
export function entityPeers(entity: string, settings: PolicySettings): readonly PeerSelector[] {
  switch (entity) {
    case "all":
      return [anyPeer];
    case "none":
      return [noPeer];
    case "cluster":
      return [...infrastructure.map(reserved), labelPeer([requirement(`k8s:${labelKey.cluster}`, "In", [settings.clusterName])])];
    case "cluster-mesh":
      return [...infrastructure.map(reserved), labelPeer([requirement(`k8s:${labelKey.cluster}`, "Exists")])];
    case "world":
      // Nobody carries the labels of one family when the cluster has one, but policy maps have rows for their identities, as Cilium's.
      return ["world", "world-ipv4", "world-ipv6"].map(reserved);
    default:
      return [reserved(entity)];
  }
}

/** The cluster's DNS pods: kube-dns and CoreDNS share a label, the node-local cache has its own. */
export function dnsPeer(settings: PolicySettings): PeerSelector {
  return labelPeer([
    requirement("k8s:k8s-app", "In", ["kube-dns", "coredns", "node-local-dns"]),
    requirement(`k8s:${labelKey.namespace}`, "In", ["kube-system"]),
    requirement(`k8s:${labelKey.cluster}`, "In", [settings.clusterName]),
  ]);
}
