import { reservedName } from "#identity/reserved.ts";
import { labelKey, parseLabel } from "#labels/label.ts";
import { reservedIdentity } from "#types/identity.ts";
import { type Prefix, parsePrefix, prefixContains } from "#types/prefix.ts";
import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import type { RuleRef } from "../rule.ts";
import { ownLabels, peerFields, surroundingsOf } from "./additive.ts";
import { blocksOf } from "./outside.ts";
import { identitySeenBy, type Party } from "./party.ts";
import type { World } from "./world.ts";

/** The peers of an entry in two: one, or the fewest that it cannot be told from, and all others, as the peer fields of entries. */
export type Parted = { readonly own: Fields; readonly others: readonly Fields[]; readonly what: string };

type Question = {
  readonly world: World;
  readonly entry: Fields;
  readonly rule: RuleRef;
  readonly own: Party;
  readonly peer: Party;
  readonly way: "from" | "to";
};

const kinds = ["Endpoints", "CIDR", "CIDRSet", "Entities", "Groups", "Nodes", "Services"];

/** Ways to part a peer from the others of an entry, the narrowest first. */
export function* partings(world: World, entry: Fields, rule: RuleRef, own: Party, peer: Party): Generator<Parted> {
  const way = rule.section.startsWith("ingress") ? "from" : "to";
  const question: Question = { world, entry, rule, own, peer, way };
  const fields = peerAlone(question);
  const written = kinds.map((kind) => `${way}${kind}`).filter((name) => entry[name] !== undefined);
  const others = [...partedPods(question), ...partedBlocks(question), ...(written.length === 0 ? partedEntities(question, ["all"]) : [])];
  if (fields !== undefined) for (const one of others) yield { own: fields, others: one, what: peer.title };
  const entities = listOf(entry[`${way}Entities`]).map(textOf);
  if (fields !== undefined) for (const one of partedEntities(question, entities)) yield { own: fields, others: one, what: peer.title };
  const covering = entities.filter((one) => atomsOf(one).includes(atomOf(question)));
  const left = entities.filter((one) => !covering.includes(one));
  if (covering.length > 0)
    yield {
      own: { [`${way}Entities`]: covering },
      others: left.length === 0 ? [] : [{ [`${way}Entities`]: left }],
      what: covering.join(" and "),
    };
  yield { own: Object.fromEntries(written.map((name) => [name, entry[name]])), others: [], what: "all its peers" };
}

function peerAlone({ world, own, peer, way }: Question): Fields | undefined {
  // As an entity it would mean more than the peer: a port of its service would be the port behind it, too.
  if (peer.kind !== "pod" && identitySeenBy(peer, own) === reservedIdentity.kubeApiserver)
    return { [`${way}Endpoints`]: [{ matchExpressions: [{ key: "reserved:kube-apiserver", operator: "Exists" }] }] };
  const fields = peerFields(surroundingsOf(world), own, peer, way === "from" ? "ingress" : "egress", "deny");
  return fields && objectOf(fields);
}

/** An entry without its peers: its ports, and what else it has. */
export function withoutPeers(entry: Fields): Fields {
  return Object.fromEntries(
    Object.entries(entry).filter(([name]) => !kinds.some((kind) => name === `from${kind}` || name === `to${kind}`)),
  );
}

/** Selectors of pods with an exception. */
function* partedPods({ world, entry, rule, peer, way }: Question): Generator<Fields[]> {
  const selectors = listOf(entry[`${way}Endpoints`]).map(objectOf);
  if (selectors.length === 0 || peer.kind !== "pod") return;
  const left = selectors.flatMap((one) => selectorsBut(world, one, peer, rule.namespace !== "" && !namesNamespace(one), [inSome]));
  yield left.length === 0 ? [] : [{ [`${way}Endpoints`]: left }];
}

/**
 * Selectors which together select what one does, but a pod. `isOfOne` tells that the selector is about the policy's own namespace; `elsewhere` are
 * requirements of who is in no namespace that the pod is in.
 */
export function selectorsBut(world: World, one: Fields, pod: PodParty, isOfOne: boolean, elsewhere: readonly Fields[]): Fields[] {
  const given = Object.entries(textsOf(one.matchLabels)).map(([key, value]) => [keyOf(key), value] as const);
  const isOther = given.some(([key, value]) => (pod.subject.labels.get("k8s", key)?.value ?? value) !== value);
  if (isOther) return [one];
  const isFixed = isOfOne || given.some(([key]) => key === labelKey.namespace);
  const labels = Object.entries(ownLabels(surroundingsOf(world), pod)).filter(([key]) => !given.some(([other]) => other === key));
  return [
    ...(isFixed ? [] : [excepted(one, notIn(namespaceKey, namespaceOf(pod)), ...elsewhere)]),
    ...labels.map(([key, value]) => (isFixed ? excepted(one, notIn(key, value)) : excepted(inNamespace(one, pod), notIn(key, value)))),
  ];
}

type PodParty = Party & { readonly kind: "pod" };

function inNamespace(one: Fields, pod: PodParty): Fields {
  return { ...one, matchLabels: { ...objectOf(one.matchLabels), [namespaceKey]: namespaceOf(pod) } };
}

const keyOf = (text: string) => parseLabel(text).key;
const namespaceOf = (peer: PodParty) => peer.subject.labels.get("k8s", labelKey.namespace)?.value ?? "";
const namespaceKey = `k8s:${labelKey.namespace}`;
const notIn = (key: string, value: string): Fields => ({ key, operator: "NotIn", values: [value] });

/** Without it, who is not in one namespace would be the world and nodes, too. */
const inSome: Fields = { key: namespaceKey, operator: "Exists" };

/** Whether a selector says itself which namespaces it is about; one that does not is about the policy's own. */
function namesNamespace({ matchLabels, matchExpressions }: Fields): boolean {
  const keys = [...Object.keys(objectOf(matchLabels)), ...listOf(matchExpressions).map((one) => textOf(objectOf(one).key))].map(keyOf);
  return keys.some((key) => key === labelKey.namespace || key.startsWith(labelKey.namespaceLabels));
}

function excepted(selector: Fields, ...expressions: readonly Fields[]): Fields {
  return { ...selector, matchExpressions: [...listOf(selector.matchExpressions), ...expressions] };
}

/** Address blocks, and groups of them, with exceptions. */
function* partedBlocks({ entry, peer, way }: Question): Generator<Fields[]> {
  const blocks = peer.kind === "outside" ? blocksOf(peer) : [];
  const sets = [...listOf(entry[`${way}CIDR`]).map((cidr) => ({ cidr })), ...listOf(entry[`${way}CIDRSet`]).map(objectOf)];
  if (blocks.length === 0 || sets.length === 0) return;
  const left = sets.filter(({ cidr }) => !blocks.some((block) => block === parsePrefix(textOf(cidr))));
  yield left.length === 0 ? [] : [{ [`${way}CIDRSet`]: left.map((one) => blocks.reduce(withException, one)) }];
}

/** In a group of blocks an exception may lie anywhere. */
function withException(set: Fields, block: Prefix): Fields {
  const cidr = parsePrefix(textOf(set.cidr));
  if (set.cidr !== undefined && (cidr === undefined || !prefixContains(cidr, block))) return set;
  return { ...set, except: [...listOf(set.except), block] };
}

const inCluster = ["pods", "host", "remote-node", "kube-apiserver", "health", "init", "unmanaged", "ingress"];

/** What an entity is made of. The API server's node is a remote one, too, and can be told from the others. */
function atomsOf(entity: string): string[] {
  if (entity === "all") return ["world", ...inCluster];
  if (entity === "cluster") return inCluster;
  return entity === "remote-node" ? ["remote-node", "kube-apiserver"] : [entity];
}

function atomOf({ peer, own }: Question): string {
  if (peer.kind === "pod") return "pods";
  const name = reservedName(identitySeenBy(peer, own)) ?? "world";
  return name.startsWith("world") ? "world" : name;
}

/** Entities taken apart, without the peer. */
function* partedEntities(question: Question, entities: readonly string[]): Generator<Fields[]> {
  const { world, peer, way } = question;
  const [atoms, own] = [new Set(entities.flatMap(atomsOf)), atomOf(question)];
  if (!atoms.delete(own)) return;
  const names = [...atoms].filter((one) => one !== "pods" && (one !== "remote-node" || atoms.has("kube-apiserver")));
  const plain = inCluster.every((one) => atoms.has(one)) ? ["cluster", ...names.filter((one) => !inCluster.includes(one))] : names;
  const pods = atoms.has("pods") && !plain.includes("cluster") ? [{ matchExpressions: [inSome] }] : [];
  const nodes = atoms.has("remote-node") && !atoms.has("kube-apiserver") ? [plainNodes] : [];
  const blocks = peer.kind === "outside" ? blocksOf(peer) : [];
  const rest = {
    [`${way}Entities`]: plain,
    [`${way}Endpoints`]: [...pods, ...nodes, ...(peer.kind === "pod" ? selectorsBut(world, {}, peer, false, [inSome]) : [])],
    [`${way}CIDRSet`]: own === "world" && blocks.length > 0 ? otherBlocks(world, blocks) : [],
  };
  yield Object.entries(rest).flatMap(([name, list]) => (list.length === 0 ? [] : [{ [name]: list }]));
}

const plainNodes = {
  matchExpressions: [
    { key: "reserved:remote-node", operator: "Exists" },
    { key: "reserved:kube-apiserver", operator: "DoesNotExist" },
  ],
};

function otherBlocks({ settings }: World, blocks: readonly Prefix[]): Fields[] {
  const all = [...(settings.ipv4 ? ["0.0.0.0/0"] : []), ...(settings.ipv6 ? ["::/0"] : [])];
  return all.map((cidr) => blocks.reduce(withException, { cidr }));
}
