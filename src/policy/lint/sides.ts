import type { Direction } from "#types/direction.ts";
import type { NumericIdentity } from "#types/identity.ts";
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

type Placed = { readonly place: number; readonly pod: Pods };

/** The peers of a rule that are under default deny at their end, by policy, with their places among all of its peers. */
type Closed = { readonly direction: Direction; readonly policies: ReadonlyMap<EndpointPolicy, readonly Placed[]> };

const closed = once((_: readonly Pods[]) => new Map<string, Closed>());

function closedPeers({ peers, direction }: Rule, pods: readonly Pods[]): Closed {
  const own = peers.filter((peer) => !peer.requirements.some(({ source }) => source === "reserved"));
  return kept(closed(pods), `${direction} ${JSON.stringify(own.map(({ text }) => text))}`, () => {
    const all = [...new Set(own.flatMap((peer) => taken(peer, pods)))].map((pod, place) => ({ place, pod }));
    const under = all.filter(({ pod }) => pod.policy[otherEnd(direction)].defaultDeny);
    return { direction: otherEnd(direction), policies: Map.groupBy(under, ({ pod }) => pod.policy) };
  });
}

/** What ends open to one identity: the rows, and the first two of the pods whose policies have such rows. */
type End = { readonly own: readonly Row[]; readonly outer: readonly Row[]; readonly members: readonly Placed[] };

const endsOf = once((_: Closed) => new Map<NumericIdentity, readonly End[]>());

/** The ends of closed peers towards one identity, those together that open the same. */
function endsTowards(id: NumericIdentity, peers: Closed, textOf: (rows: readonly Row[]) => string): readonly End[] {
  return kept(endsOf(peers), id, () => {
    const found = new Map<string, End>();
    for (const [policy, members] of peers.policies) {
      const { rows, outerRows: outer } = policy.state[peers.direction];
      const own = rows.get(id) ?? noRows;
      const key = `${textOf(own)} ${textOf(outer)}`;
      const both = [...(found.get(key)?.members ?? []), ...members.slice(0, 2)].sort((a, b) => a.place - b.place);
      found.set(key, { own, outer, members: both.slice(0, 2) });
    }
    return [...found.values()];
  });
}

/** Gives a short text that is the same for rows that let the same pass. */
function shortTexts(): (rows: readonly Row[]) => string {
  const numbers = new Map<string, number>();
  return once((rows: readonly Row[]) => {
    const open = rows.filter(({ deny }) => !deny).map(({ protocol, port, portPrefix }) => `${protocol}/${port}/${portPrefix}`);
    const text = open.join();
    const number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    return `${number}`;
  });
}

const textsOf = once((_: readonly Pods[]) => shortTexts());

/** The first pod that the rule speaks of and whose own policy, of the other direction, denies what the rule allows. */
function deniedEnd(rule: Rule, pod: Pods, pods: readonly Pods[]): Pods | undefined {
  const specs = rule.ports?.flatMap((one) => one.ports) ?? [everyPort];
  let first: Placed | undefined;
  for (const { own, outer, members } of endsTowards(pod.id, closedPeers(rule, pods), textsOf(pods))) {
    const other = members.find((one) => one.pod !== pod);
    if (other === undefined || (first !== undefined && first.place < other.place)) continue;
    // One end may well be narrower than the other.
    if (!passesSome(own, specs) && !passesSome(outer, specs)) first = other;
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
