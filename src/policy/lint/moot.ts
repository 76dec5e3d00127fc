import { formatRequirement, type Requirement } from "#labels/selector.ts";
import { prefixContains } from "#types/prefix.ts";
import { formatProtocol } from "#types/proto.ts";
import { formatRuleRef, type ParsedPolicy, type PeerSelector, type PortSpec, type Rule } from "../rule.ts";
import type { Finding } from "./finding.ts";
import { type Narrow, type Plain, PlainIndex } from "./plain-index.ts";
import { isPlain, narrows } from "./static.ts";

/** How the policy's author, or the whole cluster, can make the application rules count. */
const fix = "take the peers or the ports out of the plain allow, or annotate the policy with policy.cilium.io/l7-merge: restrict";

/**
 * Application rules of `policies` that a plain allow of them or of `others` makes moot, as their union is what is allowed (SEMANTICS C17). It is the
 * selectors that are compared, not pods: what is found holds for every pod, and what only some pods' labels bring about is not found.
 */
export function* lintMoot(policies: readonly ParsedPolicy[], others: readonly ParsedPolicy[] = []): Generator<Finding> {
  const narrow = policies.flatMap(narrowOf);
  if (narrow.length === 0) return;
  const plain = new PlainIndex([...policies, ...others.filter((one) => !one.audit)].flatMap(plainOf));
  for (const { rule, entry } of narrow) {
    const found = mootness({ rule, entry }, plain.around({ rule, entry }));
    if (found === undefined) continue;
    const message = `its application rules are moot${found.what}: ${formatRuleRef(found.by.origin)} allows the same without any`;
    yield { id: "L08", severity: "warning", policy: rule.policy, rule: rule.origin, message, fix };
  }
}

/** The other way round: application rules of `others` that plain allows of `policy` make moot. */
export function* lintMakesMoot(policy: ParsedPolicy, others: readonly ParsedPolicy[]): Generator<Finding> {
  const plain = plainOf(policy);
  for (const { rule, entry } of plain.length === 0 ? [] : others.flatMap(narrowOf)) {
    const first = mootness({ rule, entry }, plain);
    if (first === undefined) continue;
    const message = `makes the application rules of ${formatRuleRef(rule.origin)} moot${first.what}: it allows the same without any`;
    const narrower = "take these peers or ports out of this rule, or annotate the other policy with policy.cilium.io/l7-merge: restrict";
    yield { id: "L08", severity: "warning", policy: policy.ref, rule: first.by.origin, message, fix: narrower };
  }
}

const isNamespace = (key: string) => key === "io.kubernetes.pod.namespace";

function narrowOf({ rules }: ParsedPolicy): Narrow[] {
  return rules
    .filter(({ action, l7Merge }) => action === "allow" && l7Merge !== "restrict")
    .flatMap((rule) => (rule.ports ?? []).filter(narrows).map((entry) => ({ rule, entry })));
}

function plainOf({ rules }: ParsedPolicy): Plain[] {
  return rules
    .filter(({ action, peers }) => action === "allow" && peers.length > 0)
    .flatMap((rule): Plain[] => {
      if (rule.ports === null) return [{ rule, ports: null }];
      const ports = rule.ports.filter(isPlain).flatMap((one) => one.ports);
      return ports.length === 0 ? [] : [{ rule, ports }];
    });
}

type Mootness = { readonly by: Rule; readonly whole: boolean; readonly what: string };

/** The first plain allow that makes a narrow rule moot as a whole, or else the first that does so in part. */
function mootness(narrow: Narrow, plain: readonly Plain[]): Mootness | undefined {
  let first: Mootness | undefined;
  for (const one of plain) {
    const found = mootnessBy(narrow, one);
    if (found?.whole === true) return found;
    first ??= found;
  }
  return first;
}

function mootnessBy({ rule, entry }: Narrow, { rule: by, ports }: Plain): Mootness | undefined {
  if (by.direction !== rule.direction || by.onNode !== rule.onNode || by.tier > rule.tier || !subjectCovers(by, rule)) return undefined;
  const opened = entry.ports.filter((spec) => ports === null || ports.some((one) => specCovers(one, spec)));
  const peers = opened.length === 0 ? [] : rule.peers.filter((peer) => by.peers.some((one) => peerCovers(one, peer)));
  if (opened.length === 0 || peers.length === 0) return undefined;
  const whole = opened.length === entry.ports.length && peers.length === rule.peers.length;
  const whom = peers.length === rule.peers.length ? "" : ` for ${peers.map(peerText).join("; ")}`;
  const where = opened.length === entry.ports.length ? "" : ` on ${opened.map(portText).join(", ")}`;
  return { by, whole, what: `${whom}${where}` };
}

/** Whether all that one rule is for the other is for too, as far as their words show. */
export function subjectCovers(outer: Rule, inner: Rule): boolean {
  return outer.subject.requirements.every((wanted) => inner.subject.requirements.some((given) => implies(given, wanted)));
}

/** Whether a port of one entry is among those of another. */
export function specCovers(outer: PortSpec, inner: PortSpec): boolean {
  if (outer.protocol !== inner.protocol || outer.name !== inner.name) return false;
  if (outer.name !== "") return outer.endPort === inner.endPort;
  const last = (spec: PortSpec) => (spec.port === 0 ? 0xffff : Math.max(spec.port, spec.endPort));
  return outer.port <= inner.port && last(outer) >= last(inner);
}

/** Whether all that one selector takes the other takes too, as far as their words show. */
function peerCovers(outer: PeerSelector, inner: PeerSelector): boolean {
  if (outer.any || outer.text === inner.text) return !inner.none;
  if (inner.any || inner.none || outer.none || outer.source !== inner.source || outer.outside !== inner.outside) return false;
  if (outer.except.some((block) => !inner.except.includes(block)) || inner.orFamily !== undefined) return false;
  if (outer.within !== undefined && (inner.within === undefined || !prefixContains(outer.within, inner.within))) return false;
  const given = inner.within === undefined && inner.fqdn === undefined ? inner.requirements : [...inner.requirements, world];
  return outer.requirements.every((wanted) => given.some((one) => implies(one, wanted)));
}

/** What an address block or a name outside has besides. */
const world: Requirement = { source: "reserved", key: "world", operator: "Exists", values: [] };

/** Whether labels that meet the one requirement meet the other. */
function implies(given: Requirement, wanted: Requirement): boolean {
  if (given.key !== wanted.key || (wanted.source !== "any" && wanted.source !== given.source)) return false;
  if (given.operator === wanted.operator && given.source === wanted.source && given.values.join() === wanted.values.join()) return true;
  if (wanted.operator === "Exists") return given.operator === "In" || given.operator === "Exists";
  return wanted.operator === "In" && given.operator === "In" && given.values.every((value) => wanted.values.includes(value));
}

function peerText(peer: PeerSelector): string {
  if (peer.any) return "everybody";
  const written = peer.requirements.filter(({ key }) => !key.startsWith("io.cilium.") && !isNamespace(key));
  return written.length === 0 ? peer.text : written.map(formatRequirement).join(",");
}

function portText({ port, endPort, name, protocol }: PortSpec): string {
  return `${name || port}${endPort > 0 ? `-${endPort}` : ""}/${formatProtocol(protocol)}`;
}
