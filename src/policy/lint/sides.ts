import type { Direction } from "#types/direction.ts";
import { everyPort } from "../resolve/compile.ts";
import type { Row } from "../resolve/distill.ts";
import type { EndpointPolicy } from "../resolve/resolve.ts";
import type { PortSpec, Rule } from "../rule.ts";
import type { Finding } from "./finding.ts";
import { kept, once } from "./once.ts";
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

/** Whether rows let any traffic of ports pass; asked once of the same rows, which many identities may share. */
const passing = once((_: readonly Row[]) => new Map<string, { readonly some: boolean }>());

function passesSome(rows: readonly Row[], specs: readonly PortSpec[]): boolean {
  const ports = specs.map(({ protocol, name, port, endPort }) => `${protocol}/${name}/${port}-${endPort}`).join();
  // Which number a named port has is up to the receiver.
  const fits = (row: Row) => !row.deny && specs.some((spec) => spec.name !== "" || overlaps(row, spec));
  return kept(passing(rows), ports, () => ({ some: rows.some(fits) })).some;
}

function overlaps(entry: Row, spec: PortSpec): boolean {
  if (entry.protocol !== 0 && spec.protocol !== 0 && entry.protocol !== spec.protocol) return false;
  if (entry.portPrefix === 0 || spec.port === 0) return true;
  const last = entry.port + 2 ** (16 - entry.portPrefix) - 1;
  return entry.port <= Math.max(spec.port, spec.endPort) && spec.port <= last;
}

const noRows: readonly Row[] = [];

const otherEnd = (direction: Direction): Direction => (direction === "ingress" ? "egress" : "ingress");

/** Pods under default deny by one policy, by their places among the peers of a rule. */
type Closed = { readonly policy: EndpointPolicy; readonly members: readonly { readonly place: number; readonly pod: Pods }[] };

const closed = once((_: readonly Pods[]) => new Map<string, readonly Closed[]>());

/** The peers of a rule that are under default deny at their end. */
function closedPeers({ peers, direction }: Rule, pods: readonly Pods[]): readonly Closed[] {
  const own = peers.filter((peer) => !peer.requirements.some(({ source }) => source === "reserved"));
  return kept(closed(pods), `${direction} ${JSON.stringify(own.map(({ text }) => text))}`, () => {
    const all = [...new Set(own.flatMap((peer) => taken(peer, pods)))].map((pod, place) => ({ place, pod }));
    const under = all.filter(({ pod }) => pod.policy[otherEnd(direction)].defaultDeny);
    return Array.from(
      Map.groupBy(under, ({ pod }) => pod.policy),
      ([policy, members]) => ({ policy, members }),
    );
  });
}

/** The first pod that the rule speaks of and whose own policy, of the other direction, denies what the rule allows. */
function deniedEnd(rule: Rule, pod: Pods, pods: readonly Pods[]): Pods | undefined {
  const direction = otherEnd(rule.direction);
  const specs = rule.ports?.flatMap((one) => one.ports) ?? [everyPort];
  let first: Closed["members"][number] | undefined;
  for (const { policy, members } of closedPeers(rule, pods)) {
    const other = members.find((one) => one.pod !== pod);
    if (other === undefined || (first !== undefined && first.place < other.place)) continue;
    const { rows, outerRows } = policy.state[direction];
    // One end may well be narrower than the other.
    if (!passesSome(rows.get(pod.id) ?? noRows, specs) && !passesSome(outerRows, specs)) first = other;
  }
  return first?.pod;
}

function oneSided(rule: Rule, pod: Pods, other: Pods): Finding {
  const direction = otherEnd(rule.direction);
  const by = other.policy[direction].defaultDenyBy[0]?.name ?? "the enforcement mode";
  const lets = rule.direction === "ingress" ? `lets ${other.name} in to ${pod.name}` : `lets ${pod.name} out to ${other.name}`;
  const message = `${lets}, but the ${direction} of ${other.name} is under default deny (${by}) and no rule allows it: both ends must`;
  const fix = `add the ${direction} rule to ${other.name}; \`cilium policy explain\` writes it`;
  return { id: "L19", severity: "warning", policy: rule.policy, rule: rule.origin, message, fix };
}
