import type { Direction } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { everyPort } from "../resolve/compile.ts";
import type { EndpointPolicy, PolicyMapEntry } from "../resolve/resolve.ts";
import type { PortSpec, Rule } from "../rule.ts";
import type { Finding } from "./finding.ts";
import { type Pods, taken } from "./subjects.ts";

/** What one end allows and the other denies: both have to allow. */
export function* lintSides(pods: readonly Pods[]): Generator<Finding> {
  const seen = new Set<Rule["origin"]>();
  for (const pod of pods) {
    for (const rule of pod.rules) {
      if (rule.action !== "allow" || seen.has(rule.origin) || rule.peers.some((peer) => peer.any)) continue;
      const other = deniedEnd(rule, pod, pods);
      if (other === undefined) continue;
      seen.add(rule.origin);
      yield oneSided(rule, pod, other);
    }
  }
}

/** Whether a policy lets any of a rule's traffic pass: one end may well be narrower than the other. */
function passesSome(policy: EndpointPolicy, direction: Direction, identity: NumericIdentity, rule: Rule): boolean {
  const entries = [...policy.entriesFor(identity), ...policy.entriesFor(reservedIdentity.unknown)].filter(
    (one) => one.direction === direction && !one.deny,
  );
  const specs = rule.ports?.flatMap((one) => one.ports) ?? [everyPort];
  // Which number a named port has is up to the receiver.
  return entries.some((entry) => specs.some((spec) => spec.name !== "" || overlaps(entry, spec)));
}

function overlaps(entry: PolicyMapEntry, spec: PortSpec): boolean {
  if (entry.protocol !== 0 && spec.protocol !== 0 && entry.protocol !== spec.protocol) return false;
  if (entry.portPrefix === 0 || spec.port === 0) return true;
  const last = entry.port + 2 ** (16 - entry.portPrefix) - 1;
  return entry.port <= Math.max(spec.port, spec.endPort) && spec.port <= last;
}

const otherEnd = (direction: Direction): Direction => (direction === "ingress" ? "egress" : "ingress");

/** A pod that the rule speaks of and whose own policy, of the other direction, denies what the rule allows. */
function deniedEnd(rule: Rule, pod: Pods, pods: readonly Pods[]): Pods | undefined {
  const direction = otherEnd(rule.direction);
  const peers = new Set(
    rule.peers.flatMap((peer) => (peer.requirements.some(({ source }) => source === "reserved") ? [] : taken(peer, pods))),
  );
  const denies = (other: Pods) =>
    other !== pod && other.policy[direction].defaultDeny && !passesSome(other.policy, direction, pod.id, rule);
  return [...peers].find(denies);
}

function oneSided(rule: Rule, pod: Pods, other: Pods): Finding {
  const direction = otherEnd(rule.direction);
  const by = other.policy[direction].defaultDenyBy[0]?.name ?? "the enforcement mode";
  const lets = rule.direction === "ingress" ? `lets ${other.name} in to ${pod.name}` : `lets ${pod.name} out to ${other.name}`;
  const message = `${lets}, but the ${direction} of ${other.name} is under default deny (${by}) and no rule allows it: both ends must`;
  const fix = `add the ${direction} rule to ${other.name}; \`cilium policy explain\` writes it`;
  return { id: "L19", severity: "warning", policy: rule.policy, rule: rule.origin, message, fix };
}
