import { labelKey } from "#labels/label.ts";
import { type Prefix, parsePrefix, prefixContains } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import { listOf, objectOf, textOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { formatRuleRef, policyKey, type RuleRef } from "../rule.ts";
import { ownLabels, surroundingsOf } from "./additive.ts";
import { type Connection, endsOf } from "./connection.ts";
import { rulePath } from "./objects.ts";
import { blocksOf } from "./outside.ts";
import { identitySeenBy, type Party } from "./party.ts";
import type { World } from "./world.ts";

/** A policy with a rule of it changed. */
export type Edit = { readonly object: object; readonly summary: string };

/** Ways to make a rule that denies leave a connection alone, the narrowest first. What each does still has to be tried. */
export function* narrowed(world: World, connection: Connection, rule: RuleRef): Generator<Edit> {
  const policy = world.policy(policyKey(rule));
  if (policy === undefined) return;
  const { own, peer } = endsOf(connection, rule.section.startsWith("ingress") ? "ingress" : "egress");
  // Of a name somewhere in a block nobody knows the address: an exception would be for all of the block.
  if (peer.kind === "outside" && peer.name !== undefined && peer.prefix !== undefined) return;
  const object = withoutServerFields(policy.from.object);
  const text = formatRuleRef(rule);
  const entry = entryOf(object, rule);
  const pass = rule.kind === "ClusterNetworkPolicy" ? passBefore(world, object, connection, rule) : undefined;
  if (pass !== undefined)
    yield { object: pass, summary: `${text} is passed by, for this connection: a rule before it leaves that to the other policies` };
  for (const { fields, what } of exceptions(world, entry, own, peer, rule)) {
    yield { object: withEntry(object, rule, fields), summary: `${text} leaves out ${what}` };
  }
  yield { object: withEntry(object, rule, undefined), summary: `${text} is taken out` };
}

/** The entry of the object that the rule was read from. */
export function entryOf(object: Fields, rule: RuleRef): Fields {
  return objectOf(listOf(specOf(object, rule)[rule.section])[rule.index]);
}

const inSpecs = (object: Fields, rule: RuleRef) => rulePath(object, rule).startsWith("specs");

function specOf(object: Fields, rule: RuleRef): Fields {
  return objectOf(inSpecs(object, rule) ? listOf(object.specs)[rule.spec] : object.spec);
}

const protocolFields: Readonly<Record<number, string>> = {
  [protocolNumber.TCP]: "tcp",
  [protocolNumber.UDP]: "udp",
  [protocolNumber.SCTP]: "sctp",
};

/** In a ClusterNetworkPolicy the first rule that matches decides, so one that passes on stands before the one that denies. */
function passBefore(world: World, object: Fields, connection: Connection, rule: RuleRef): Fields | undefined {
  const field = protocolFields[connection.protocol];
  const { peer } = endsOf(connection, rule.section === "ingress" ? "ingress" : "egress");
  const blocks = peer.kind === "outside" && rule.section === "egress" ? blocksOf(peer) : [];
  if (field === undefined || (peer.kind !== "pod" && blocks.length === 0)) return undefined;
  const spec = objectOf(object.spec);
  const pods = () => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespaceOf(peer) } },
    podSelector: { matchLabels: peer.kind === "pod" ? ownLabels(surroundingsOf(world), peer) : {} },
  });
  const entry = {
    name: "pass-on",
    action: "Pass",
    [rule.section === "ingress" ? "from" : "to"]: [blocks.length === 0 ? { pods: pods() } : { networks: blocks }],
    protocols: [{ [field]: { destinationPort: { number: connection.port } } }],
  };
  return { ...object, spec: { ...spec, [rule.section]: listOf(spec[rule.section]).toSpliced(rule.index, 0, entry) } };
}

const namespaceOf = (peer: Party) =>
  (peer.kind === "pod" ? peer.subject.labels.get("k8s", labelKey.namespace)?.value : undefined) ?? "default";

/** The entry with an exception for the peer, where its kind of peers can have one. */
function* exceptions(world: World, entry: Fields, own: Party, peer: Party, rule: RuleRef) {
  const way = rule.section.startsWith("ingress") ? "from" : "to";
  const endpoints = listOf(entry[`${way}Endpoints`]).map(objectOf);
  if (endpoints.length > 0 && peer.kind === "pod") {
    const [first] = Object.entries(ownLabels(surroundingsOf(world), peer));
    if (first === undefined) return;
    const [key, value] = first;
    const except = { key, operator: "NotIn", values: [value] };
    const fields = endpoints.map((one) => ({ ...one, matchExpressions: [...listOf(one.matchExpressions), except] }));
    yield { fields: { ...entry, [`${way}Endpoints`]: fields }, what: `pods with ${key}=${value}` };
  }
  const blocks = peer.kind === "outside" ? blocksOf(peer) : [];
  if (blocks.length === 0 || world.cache.prefix(identitySeenBy(peer, own)) === undefined) return;
  const sets = [...listOf(entry[`${way}CIDR`]).map((cidr) => ({ cidr })), ...listOf(entry[`${way}CIDRSet`]).map(objectOf)];
  if (sets.length === 0) return;
  const { [`${way}CIDR`]: _, ...rest } = entry;
  yield { fields: { ...rest, [`${way}CIDRSet`]: sets.map((one) => blocks.reduce(withException, one)) }, what: blocks.join(" and ") };
}

function withException(set: Fields, block: Prefix): Fields {
  const cidr = parsePrefix(textOf(set.cidr));
  if (cidr === undefined || !prefixContains(cidr, block)) return set;
  return { ...set, except: [...listOf(set.except), block] };
}

/** The object with the rule's entry replaced, or without it. A direction that was under default deny stays so. */
export function withEntry(object: Fields, rule: RuleRef, entry: Fields | undefined): Fields {
  const spec = specOf(object, rule);
  const list = listOf(spec[rule.section]).flatMap((one, i) => (i !== rule.index ? [one] : entry === undefined ? [] : [entry]));
  const direction = rule.section.startsWith("ingress") ? "ingress" : "egress";
  const opened = list.length === 0 && rule.section.endsWith("Deny") && listOf(spec[direction]).length === 0;
  // In place, so that the author finds the sections in their order. Where nothing is left the list stays, empty: a missing field would not be
  // taken out by kubectl apply unless kubectl apply had put it in.
  const next = { ...spec, [rule.section]: list, ...(opened ? { [direction]: [{}] } : {}) };
  if (!inSpecs(object, rule)) return { ...object, spec: next };
  return { ...object, specs: listOf(object.specs).map((one, i) => (i === rule.spec ? next : one)) };
}

/** The object as its author would write it: without what the API server adds. */
export function withoutServerFields(object: unknown): Fields {
  const { apiVersion, kind, metadata, status: _, ...rest } = objectOf(object);
  const { name, namespace, labels, annotations } = objectOf(metadata);
  const { "kubectl.kubernetes.io/last-applied-configuration": _applied, ...own } = objectOf(annotations);
  const kept = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(labels === undefined ? {} : { labels }),
    ...(Object.keys(own).length > 0 ? { annotations: own } : {}),
  };
  return { apiVersion, kind, metadata: kept, ...rest };
}
