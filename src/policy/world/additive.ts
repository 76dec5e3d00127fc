import { RE2JS } from "re2js";
import { reservedName } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import type { Direction } from "#types/direction.ts";
import { formatProtocol, hasPorts, protocolNumber } from "#types/proto.ts";
import type { Repository } from "../resolve/repository.ts";
import { type Connection, endsOf } from "./connection.ts";
import { blocksOf } from "./outside.ts";
import { identitySeenBy, type Party } from "./party.ts";
import type { World, WorldEndpoint } from "./world.ts";

/** What a new policy has to get along with. */
export type Surroundings = {
  readonly repo: Repository;
  hasPolicy(key: string): boolean;
  /** The labels of the pods of a namespace that are no part of a party. */
  othersIn(namespace: string, party: Party & { readonly kind: "pod" }): readonly LabelSet[];
};

/** The surroundings that a world is. */
export function surroundingsOf(world: World): Surroundings {
  return {
    repo: world.repo,
    hasPolicy: (key) => world.policy(key) !== undefined,
    othersIn(namespace, party) {
      const workloads = new Set(party.pods.map(workloadKey));
      const others = world.endpoints.filter((one) => one.namespace === namespace && !workloads.has(workloadKey(one)));
      return others.map((one) => one.identityLabels);
    },
  };
}

/** A policy of its own for one connection: it allows (or denies) that and changes nothing else. Undefined where no policy can stand for an end. */
export function policyFor(around: Surroundings, connection: Connection, direction: Direction, verb: "allow" | "deny"): object | undefined {
  const { own, peer } = endsOf(connection, direction);
  const subject = subjectFields(around, own);
  const peers = peerFields(around, own, peer, direction, verb);
  if (subject === undefined || peers === undefined) return undefined;
  const entry = { ...peers, ...portFields(connection, verb) };
  const { namespace, selector } = subject;
  const section = verb === "deny" ? `${direction}Deny` : direction;
  const entries = verb === "allow" && needsDnsRule(around, own, peer, direction) ? [entry, dnsRule] : [entry];
  const kind = namespace === "" ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy";
  const [left, right] = direction === "ingress" ? [peer, own] : [own, peer];
  const name = freeName(around, kind, namespace, `${verb}-${nameOf(left)}-to-${nameOf(right)}`);
  return {
    apiVersion: "cilium.io/v2",
    kind,
    metadata: { name, ...(namespace === "" ? {} : { namespace }) },
    // A deny must deny just this: without the switch it would also put the pods in default deny.
    spec: { ...selector, ...(verb === "deny" ? { enableDefaultDeny: { ingress: false, egress: false } } : {}), [section]: entries },
  };
}

function subjectFields(around: Surroundings, own: Party): { readonly namespace: string; readonly selector: object } | undefined {
  if (own.kind === "outside") return undefined;
  if (own.kind === "node") {
    const name = own.node?.labels.get("k8s", "kubernetes.io/hostname")?.value;
    return { namespace: "", selector: { nodeSelector: name === undefined ? {} : { matchLabels: { "kubernetes.io/hostname": name } } } };
  }
  const namespace = own.subject.labels.get("k8s", labelKey.namespace)?.value ?? "default";
  return { namespace, selector: { endpointSelector: { matchLabels: ownLabels(around, own) } } };
}

/** The peer as a rule's fields name it; undefined where none can. */
export function peerFields(
  around: Surroundings,
  own: Party,
  peer: Party,
  direction: Direction,
  verb: "allow" | "deny",
): object | undefined {
  const way = direction === "ingress" ? "from" : "to";
  if (peer.kind === "pod") {
    const namespace = peer.subject.labels.get("k8s", labelKey.namespace)?.value ?? "";
    const ours = own.kind === "pod" && own.subject.labels.get("k8s", labelKey.namespace)?.value === namespace;
    const matchLabels = { ...(ours ? {} : { [`k8s:${labelKey.namespace}`]: namespace }), ...ownLabels(around, peer) };
    return { [`${way}Endpoints`]: [{ matchLabels }] };
  }
  // Denies know no names: the field would be dropped, and the rule would deny everybody.
  if (peer.kind === "outside" && peer.name !== undefined && !(verb === "deny" && peer.address !== undefined))
    return direction === "egress" && verb === "allow" ? { toFQDNs: [{ matchName: peer.name }] } : undefined;
  const blocks = peer.kind === "outside" ? blocksOf(peer) : [];
  if (blocks.length > 0) return { [`${way}CIDR`]: blocks };
  const entity = reservedName(identitySeenBy(peer, own));
  return entity === undefined ? undefined : { [`${way}Entities`]: [entity] };
}

/** Selectors of names learn addresses from DNS answers: a pod whose answers nobody sees needs the rule for them too. */
function needsDnsRule({ repo }: Surroundings, own: Party, peer: Party, direction: Direction): boolean {
  if (direction !== "egress" || own.kind !== "pod" || peer.kind !== "outside" || peer.name === undefined) return false;
  const rules = repo.select(own.subject.labels, own.subject.identity);
  return !rules.some((rule) => rule.direction === "egress" && rule.ports?.some((one) => (one.l7?.dns.length ?? 0) > 0) === true);
}

const dnsRule = {
  toEndpoints: [{ matchLabels: { [`k8s:${labelKey.namespace}`]: "kube-system", "k8s:k8s-app": "kube-dns" } }],
  toPorts: [
    {
      ports: [
        { port: "53", protocol: "UDP" },
        { port: "53", protocol: "TCP" },
      ],
      rules: { dns: [{ matchPattern: "*" }] },
    },
  ],
};

/** The port, or type, of a connection as an entry's fields. */
export function portFields({ from, to, protocol, port, http }: Connection, verb: "allow" | "deny"): object {
  if (protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6) {
    return { icmps: [{ fields: [{ family: protocol === protocolNumber.ICMP ? "IPv4" : "IPv6", type: port }] }] };
  }
  if (!hasPorts(protocol)) return {};
  const ports = [{ port: String(port), protocol: formatProtocol(protocol) }];
  // Denies look at ports alone.
  if (http === undefined || verb === "deny" || (from.kind !== "pod" && to.kind !== "pod")) return { toPorts: [{ ports }] };
  return { toPorts: [{ ports, rules: { http: [{ method: http.method, path: RE2JS.quote(http.path) }] } }] };
}

const preferred = [
  "app",
  "app.kubernetes.io/name",
  "k8s-app",
  "app.kubernetes.io/instance",
  "app.kubernetes.io/component",
  "name",
  "component",
];

/** The labels that pick out a pod's workload in its namespace: one where one is enough, else all that are its own. */
export function ownLabels(around: Surroundings, party: Party & { readonly kind: "pod" }): Record<string, string> {
  const { labels } = party.subject;
  const namespace = labels.get("k8s", labelKey.namespace)?.value;
  const all = userLabels(labels);
  const others = around.othersIn(namespace ?? "", party);
  const picks = ([key, value]: readonly [string, string]) => others.every((one) => one.get("k8s", key)?.value !== value);
  const rank = (key: string) => (preferred.includes(key) ? preferred.indexOf(key) : preferred.length);
  const sorted = all.toSorted(([a], [b]) => rank(a) - rank(b));
  for (const one of sorted) if (picks(one)) return Object.fromEntries([one]);
  return Object.fromEntries(sorted);
}

const workloadKey = ({ workload }: WorldEndpoint) => `${workload.kind}/${workload.name}`;

function userLabels(labels: LabelSet): (readonly [string, string])[] {
  return labels.labels
    .filter(({ source, key }) => source === "k8s" && !key.startsWith("io.cilium.") && !key.startsWith("io.kubernetes."))
    .map(({ key, value }) => [key, value] as const);
}

/** A party in a policy's name. */
export function nameOf(party: Party): string {
  const named = {
    pod: () => (party.kind === "pod" ? party.pods[0]?.workload.name : undefined),
    outside: () => (party.kind === "outside" ? party.name : undefined),
    node: () => (party.kind === "node" && party.identity !== undefined ? reservedName(party.identity) : undefined),
  }[party.kind]();
  const clean = (named ?? party.title)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40)
    .replace(/-+$/, "");
  return clean || "peer";
}

/** The name, or the first with a number after it that no policy has. */
export function freeName(around: Surroundings, kind: string, namespace: string, wanted: string): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted}-${number}`;
    if (!around.hasPolicy(`${kind}/${namespace}/${name}`)) return name;
  }
}
