import { labelKey } from "#labels/label.ts";
import { reservedIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import { formatFlowPort } from "../explain/near-miss.ts";
import { listOf, objectOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { formatRuleRef, policyKey, type Rule, type RuleRef, ruleKey } from "../rule.ts";
import { ownLabels, surroundingsOf } from "./additive.ts";
import { type Connection, endsOf } from "./connection.ts";
import { partings, withoutPeers } from "./deny-peers.ts";
import { isAboutAll, portsWithout } from "./deny-ports.ts";
import { rulePath } from "./objects.ts";
import { blocksOf } from "./outside.ts";
import type { Party } from "./party.ts";
import type { World } from "./world.ts";

/** A policy with a rule of it changed. */
export type Edit = { readonly object: object; readonly summary: string };

/** What a rule that denies is changed into: so many entries from its place on. */
export type Narrowed = Edit & { readonly entries: number };

/** Ways to make a rule that denies leave a connection alone, the narrowest first. What each does still has to be tried. */
export function* narrowed(world: World, connection: Connection, rule: RuleRef): Generator<Narrowed> {
  const policy = world.policy(policyKey(rule));
  if (policy === undefined) return;
  const { peer } = endsOf(connection, rule.section.startsWith("ingress") ? "ingress" : "egress");
  // Of a name somewhere in a block nobody knows the address: an exception would be for all of the block.
  if (peer.kind === "outside" && peer.name !== undefined && peer.prefix !== undefined) return;
  const object = withoutServerFields(policy.from.object);
  const text = formatRuleRef(rule);
  if (rule.kind === "ClusterNetworkPolicy") {
    const pass = passBefore(world, object, connection, rule);
    const summary = `${text} is passed by, for this connection: a rule before it leaves that to the other policies`;
    if (pass !== undefined) yield { object: pass, summary, entries: 2 };
  } else {
    const parsed = policy.parsed.rules.find(({ origin }) => ruleKey(origin) === ruleKey(rule));
    if (parsed !== undefined) yield* parted(world, connection, parsed, object);
  }
  yield { object: withEntries(object, rule, []), summary: `${text} is taken out`, entries: 0 };
}

/** The rule as entries that deny the other peers as before, and this one on the other ports. */
function* parted(world: World, connection: Connection, rule: Rule, object: Fields): Generator<Narrowed> {
  const { origin, direction } = rule;
  const { own, peer } = endsOf(connection, direction);
  const entry = entryOf(object, origin);
  const { toPorts: _ports, icmps: _types, ...same } = withoutPeers(entry);
  const port = formatFlowPort({ ...connection, direction, identity: reservedIdentity.unknown });
  for (const { own: one, others, what } of partings(world, entry, origin, own, peer)) {
    const entries = [
      ...others.map((peers) => ({ ...peers, ...withoutPeers(entry) })),
      ...portsWithout(rule, connection, world.settings).map((ports) => ({ ...one, ...ports, ...same })),
    ];
    const lost = isAboutAll(rule) ? `; on other ports ${what} stays denied, of ICMP just for echo requests` : "";
    const summary = `${formatRuleRef(origin)} leaves out ${what} on ${port}${lost}`;
    yield { object: withEntries(object, origin, entries), summary, entries: entries.length };
  }
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
  if (peer.kind !== "pod" && blocks.length === 0) return undefined;
  const spec = objectOf(object.spec);
  const pods = () => ({
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespaceOf(peer) } },
    podSelector: { matchLabels: peer.kind === "pod" ? ownLabels(surroundingsOf(world), peer) : {} },
  });
  const entry = {
    name: "pass-on",
    action: "Pass",
    [rule.section === "ingress" ? "from" : "to"]: [blocks.length === 0 ? { pods: pods() } : { networks: blocks }],
    // It knows no other protocols than these: for ICMP all is passed on.
    ...(field === undefined ? {} : { protocols: [{ [field]: { destinationPort: { number: connection.port } } }] }),
  };
  return { ...object, spec: { ...spec, [rule.section]: listOf(spec[rule.section]).toSpliced(rule.index, 0, entry) } };
}

const namespaceOf = (peer: Party) =>
  (peer.kind === "pod" ? peer.subject.labels.get("k8s", labelKey.namespace)?.value : undefined) ?? "default";

/** The object with others, or none, in the place of the rule's entry. A direction that was under default deny stays so. */
export function withEntries(object: Fields, rule: RuleRef, entries: readonly Fields[]): Fields {
  const spec = specOf(object, rule);
  const list = listOf(spec[rule.section]).toSpliced(rule.index, 1, ...entries);
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
