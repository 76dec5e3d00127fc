import { reservedLabels } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { addressFamily, type IpAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import type { Subject } from "../resolve/resolve.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import { blocksOf, familyOutside, outsideParty, type Whereabouts } from "./outside.ts";
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
      /** The one of its addresses that is asked for. */
      readonly address?: IpAddress | undefined;
    }
  | {
      readonly kind: "node";
      readonly title: string;
      /** Undefined for "any node" (`host`, `remote-node`, `kube-apiserver`). */
      readonly node: WorldNode | undefined;
      readonly identity: NumericIdentity | undefined;
      readonly address?: IpAddress | undefined;
    }
  | ({ readonly kind: "outside"; readonly title: string; readonly identity: NumericIdentity } & Whereabouts);

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

/** The family of a party's addresses: where nobody knows any, IPv4. */
export function familyOf(party: Party): 4 | 6 {
  if (party.kind === "outside") return familyOutside(party);
  const address = party.address ?? (party.kind === "pod" ? party.pods[0]?.addresses[0] : party.node?.addresses[0]);
  return address === undefined ? 4 : addressFamily(address);
}

/** The same party in another world, where its labels, block or name may have another identity. */
export function findSame(world: World, party: Party): Party {
  if (party.kind === "pod") {
    const labels = party.subject.labels;
    return { ...party, subject: { ...party.subject, identity: world.identityFor(labels) } };
  }
  if (party.kind === "node") return party;
  const { kind: _, title, identity: _before, ...where } = party;
  return where.name === undefined && blocksOf(where).length === 0 ? party : outsideParty(world, title, where);
}
