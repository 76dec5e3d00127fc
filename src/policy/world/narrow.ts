import { matches } from "#labels/selector.ts";
import { reservedIdentity } from "#types/identity.ts";
import { formatFlowPort } from "../explain/near-miss.ts";
import { listOf, objectOf } from "../parse/fields.ts";
import type { Fields } from "../parse/reading.ts";
import { formatRuleRef, policyKey, type Rule, type RuleRef, ruleKey } from "../rule.ts";
import { freeName, portFields, surroundingsOf } from "./additive.ts";
import { type Connection, endsOf } from "./connection.ts";
import { partings, selectorsBut, withoutPeers } from "./deny-peers.ts";
import { isAboutAll, portsWithout } from "./deny-ports.ts";
import { rulePath } from "./objects.ts";
import type { Party } from "./party.ts";
import { passes } from "./pass.ts";
import { titleOf } from "./trial.ts";
import type { World, WorldEndpoint } from "./world.ts";

/** A policy with a rule of it changed. */
export type Edit = { readonly object: object; readonly summary: string };

/** A way past a rule that denies: policies to apply, what each does, and how many entries stand in the place of the rule. */
export type Narrowed = { readonly objects: readonly object[]; readonly summary: readonly string[]; readonly entries: number };

/** Ways to make a rule that denies leave a connection alone, the narrowest first. What each does still has to be tried. */
export function* narrowed(world: World, connection: Connection, rule: RuleRef): Generator<Narrowed> {
  const policy = world.policy(policyKey(rule));
  if (policy === undefined) return;
  const { peer } = endsOf(connection, rule.section.startsWith("ingress") ? "ingress" : "egress");
  // Of a name somewhere in a block nobody knows the address: an exception would be for all of the block.
  if (peer.kind === "outside" && peer.name !== undefined && peer.prefix !== undefined) return;
  const object = withoutServerFields(policy.from.object);
  const parsed = policy.parsed.rules.find(({ origin }) => ruleKey(origin) === ruleKey(rule));
  if (rule.kind === "ClusterNetworkPolicy") yield* passes(world, object, connection, rule);
  else if (parsed !== undefined) yield* parted(world, connection, parsed, object);
  yield { objects: [withEntries(object, rule, [])], summary: [`changed: ${formatRuleRef(rule)} is taken out`], entries: 0 };
}

/** The rule as entries that deny the other peers as before, and this one on the other ports; with a policy that denies it to the others. */
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
    const lost = isAboutAll(rule) ? "; of the other ports it denies those of TCP, UDP and SCTP, and of ICMP the echo requests" : "";
    const changed = `changed: ${formatRuleRef(origin)} leaves out ${port} of ${what}${lost}`;
    const rest = forOthers(world, rule, object, own, { ...one, ...portFields(connection, "deny") });
    yield {
      objects: [withEntries(object, origin, entries), ...rest],
      summary: [changed, ...rest.map((made) => `new: ${titleOf(made)}, which denies that to the others that the rule is for`)],
      entries: entries.length,
    };
  }
}

/** A denial for those that the rule is for, but one; none where there are no others. */
function forOthers(world: World, rule: Rule, object: Fields, own: Party, entry: Fields): object[] {
  if (own.kind !== "pod" || rule.onNode) return [];
  const isOther = ({ identity, identityLabels }: WorldEndpoint) =>
    identity !== own.subject.identity && matches(rule.subject, identityLabels);
  if (!world.endpoints.some(isOther)) return [];
  const { kind, namespace, name, section } = rule.origin;
  const specs = selectorsBut(world, objectOf(specOf(object, rule.origin).endpointSelector), own, namespace !== "", []).map((selector) => ({
    endpointSelector: selector,
    enableDefaultDeny: { ingress: false, egress: false },
    [section]: [entry],
  }));
  const metadata = {
    name: freeName(surroundingsOf(world), kind, namespace, `${name}-others`),
    ...(namespace === "" ? {} : { namespace }),
  };
  if (specs.length === 0) return [];
  return [{ apiVersion: object.apiVersion, kind, metadata, ...(specs.length === 1 ? { spec: specs[0] } : { specs }) }];
}

/** The entry of the object that the rule was read from. */
export function entryOf(object: Fields, rule: RuleRef): Fields {
  return objectOf(listOf(specOf(object, rule)[rule.section])[rule.index]);
}

const inSpecs = (object: Fields, rule: RuleRef) => rulePath(object, rule).startsWith("specs");

function specOf(object: Fields, rule: RuleRef): Fields {
  return objectOf(inSpecs(object, rule) ? listOf(object.specs)[rule.spec] : object.spec);
}

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
