import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { fqdnLabels, worldLabel } from "#identity/cidr.ts";
import { reservedLabels } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { addressFamily, type IpAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix, type Prefix, prefixContains, prefixParts } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import type { Subject } from "../resolve/resolve.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import type { World, WorldEndpoint, WorldNode } from "./world.ts";

/** One end of a connection. What it is to others depends for nodes on who looks: `identitySeenBy`. */
export type Party =
  | {
      readonly kind: "pod";
      readonly title: string;
      readonly subject: Subject;
      /** The pods that are alike for policies; none for labels that no pod has. */
      readonly pods: readonly WorldEndpoint[];
      /** Name of the node, where it is known. */
      readonly node: string;
    }
  | {
      readonly kind: "node";
      readonly title: string;
      /** Undefined for "any node" (`host`, `remote-node`, `kube-apiserver`). */
      readonly node: WorldNode | undefined;
      readonly identity: NumericIdentity | undefined;
    }
  | {
      readonly kind: "outside";
      readonly title: string;
      readonly identity: NumericIdentity;
      readonly address?: IpAddress | undefined;
      readonly prefix?: Prefix | undefined;
      readonly name?: string | undefined;
    };

/** The pods of endpoints, those that are alike for policies as one party. */
export function podParties(endpoints: readonly WorldEndpoint[]): Party[] {
  const groups = Map.groupBy(endpoints, (one) => `${one.identity}|${portsKey(one.namedPorts)}|${one.workload.kind}/${one.workload.name}`);
  return [...groups.values()].map(podParty);
}

const portsKey = (ports: readonly NamedPort[]) => ports.map(({ name, protocol, port }) => `${name}:${protocol}:${port}`).join();

function podParty(pods: readonly WorldEndpoint[]): Party {
  const [first] = pods as readonly [WorldEndpoint, ...WorldEndpoint[]];
  const { namespace, name, workload, identity, identityLabels, namedPorts, node } = first;
  const isOne = pods.length === 1 && workload.name !== name;
  const title = isOne ? `${namespace}/${name}` : `${namespace}/${workload.name}`;
  const nodes = new Set(pods.map((one) => one.node));
  return { kind: "pod", title, subject: { identity, labels: identityLabels, namedPorts }, pods, node: nodes.size === 1 ? node : "" };
}

/** A pod that is not there: labels in a namespace. */
export function imaginedParty(world: World, labels: LabelSet): Party {
  const identity = world.identityFor(labels);
  const own = labels.labels.filter(({ key }) => !key.startsWith("io.cilium.") && key !== labelKey.namespace);
  const namespace = labels.get("k8s", labelKey.namespace)?.value ?? "";
  const title = `${namespace}/[${own.map(({ key, value }) => `${key}=${value}`).join(",")}]`;
  return { kind: "pod", title, subject: { identity, labels, namedPorts: [] }, pods: [], node: "" };
}

/** The identity that the datapath gives an address outside: that of the longest block that a rule or a group names, else the world's. */
export function identityOfBlock(world: World, block: Prefix): NumericIdentity {
  let best: { readonly id: NumericIdentity; readonly bits: number } | undefined;
  for (const id of world.cache.identities()) {
    const prefix = world.cache.prefix(id);
    if (prefix === undefined || !prefixContains(prefix, block)) continue;
    const { bits } = prefixParts(prefix);
    if (best === undefined || bits > best.bits) best = { id, bits };
  }
  return best?.id ?? worldIdentity(world, prefixParts(block).family);
}

/** The identity of what nobody knows anything about. */
export function worldIdentity({ settings }: World, family: 4 | 6 = 4): NumericIdentity {
  const { key } = worldLabel(family, settings);
  if (key === "world") return reservedIdentity.world;
  return family === 4 ? reservedIdentity.worldIpv4 : reservedIdentity.worldIpv6;
}

/** An address outside the cluster. */
export function addressParty(world: World, address: IpAddress): Party {
  return { kind: "outside", title: address, identity: identityOfBlock(world, hostPrefix(address)), address };
}

/** The identity under which `viewer` meets `party`: a node is `host` to its own pods, `remote-node` or `kube-apiserver` to others. */
export function identitySeenBy(party: Party, viewer: Party): NumericIdentity {
  if (party.kind === "pod") return party.subject.identity;
  if (party.kind === "outside") return party.identity;
  if (party.identity !== undefined) return party.identity;
  if (viewer.kind === "pod" && viewer.node !== "" && viewer.node === party.node?.name) return reservedIdentity.host;
  return party.node?.isApiServer === true ? reservedIdentity.kubeApiserver : reservedIdentity.remoteNode;
}

/** What is judged at this end of a connection; undefined where no policy of ours applies. */
export function subjectOf(world: World, party: Party): Subject | undefined {
  if (party.kind === "pod") return party.subject;
  if (party.kind === "outside" || !world.settings.hostFirewall) return undefined;
  const labels = party.node?.labels ?? reservedLabels(reservedIdentity.host);
  const isOther = party.identity !== undefined && party.identity !== reservedIdentity.host;
  return labels === undefined || isOther ? undefined : { identity: reservedIdentity.host, labels, namedPorts: [] };
}

/** Whether both are one and the same pod, and not just replicas of one workload. What a pod sends to itself is nobody's business but its own. */
export function isItself(from: Party, to: Party): boolean {
  if (from.kind !== "pod" || to.kind !== "pod" || from.pods.length !== 1 || to.pods.length !== 1) return false;
  const [one, other] = [from.pods[0], to.pods[0]];
  return one?.isOne === true && one.namespace === other?.namespace && one.name === other.name && isSameKind(one, other);
}

const isSameKind = (one: WorldEndpoint, other: WorldEndpoint) =>
  one.workload.kind === other.workload.kind && one.workload.name === other.workload.name;

/** The number of a named port at a party; undefined when it has none of that name. */
export function namedPortOf(party: Party, name: string, protocol: number | undefined): NamedPort | undefined {
  const ports = party.kind === "pod" ? party.subject.namedPorts : [];
  return ports.find((one) => one.name === name && one.protocol === (protocol ?? protocolNumber.TCP));
}

/** The family of a party's addresses: of a pod that has none, IPv4. */
export function familyOf(party: Party): 4 | 6 {
  const address = party.kind === "outside" ? party.address : party.kind === "pod" ? party.pods[0]?.addresses[0] : party.node?.addresses[0];
  return address === undefined ? 4 : addressFamily(address);
}

/** The same party in another world, where its labels, block or name may have another identity. */
export function findSame(world: World, party: Party): Party {
  if (party.kind === "pod") {
    const labels = party.subject.labels;
    return { ...party, subject: { ...party.subject, identity: world.identityFor(labels) } };
  }
  if (party.kind === "node") return party;
  if (party.name !== undefined) return { ...party, identity: nameIdentity(world, party.name) };
  const block = party.prefix ?? (party.address && hostPrefix(party.address));
  return block === undefined ? party : { ...party, identity: identityOfBlock(world, block) };
}

/** The identity of addresses that somebody learns by a name: it has the labels of all selectors that take the name; without any, the world's. */
export function nameIdentity(world: World, name: string): NumericIdentity {
  const selectors = world.repo.fqdns().filter((one) => fqdnMatcher(one)(normalizeName(name)));
  return selectors.length === 0 ? worldIdentity(world) : world.identityFor(fqdnLabels(selectors, 4, world.settings));
}
