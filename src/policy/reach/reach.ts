import type { Direction } from "#types/direction.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import type { L7Policy, L7Rule } from "../resolve/l7-policy.ts";
import type { EndpointPolicy, PolicyMapEntry } from "../resolve/resolve.ts";
import { decideAmong } from "../resolve/verdict.ts";
import { identitySeenBy, isItself, type Party, subjectOf } from "../world/party.ts";
import type { World } from "../world/world.ts";
import { kafkaTexts } from "./kafka.ts";
import { nameTexts } from "./names.ts";
import { requestTexts } from "./requests.ts";
import { intersect, joined, lastOf, otherProtocols, type Reach, type Span } from "./span.ts";

/** The protocols that have to be told apart in these worlds: the common ones, those that rules name, and all others as one. */
export function protocolsOf(...worlds: readonly World[]): readonly number[] {
  const named = worlds.flatMap(({ policies }) =>
    policies.flatMap(({ parsed }) =>
      parsed.rules.flatMap((rule) => (rule.ports ?? []).flatMap(({ ports }) => ports.map((one) => one.protocol))),
    ),
  );
  const { TCP, UDP, SCTP, ICMP, ICMPv6 } = protocolNumber;
  return [...new Set([TCP, UDP, SCTP, ICMP, ICMPv6, ...named.filter((one) => one !== 0).sort((a, b) => a - b), otherProtocols])];
}

/** Who may send what to whom. Exact: ports are cut where the policy maps cut them, not sampled. Equal answers are often the same object. */
export interface Reaches {
  between(from: Party, to: Party): Reach;
}

/** The reaches of a world; `protocols` as `protocolsOf` gives them, for all the worlds that are to be compared. */
export function reachesOf(world: World, protocols: readonly number[]): Reaches {
  const memo = new WeakMap<EndpointPolicy, Map<string, Reach>>();
  const everything = protocols.map((protocol): Span => ({ protocol, first: 0, last: lastOf(protocol), l7: "" }));
  const sideOf = (own: Party, peer: Party, direction: Direction): Reach => {
    const subject = subjectOf(world, own);
    if (subject === undefined) return everything;
    const policy = world.policyOf(subject);
    const identity = identitySeenBy(peer, own);
    const key = alikeKey(world, policy, direction, identity);
    const known = memo.get(policy) ?? new Map<string, Reach>();
    memo.set(policy, known);
    const reach = known.get(key) ?? reachOf(policy, direction, identity, protocols);
    known.set(key, reach);
    return reach;
  };
  const met = new Map<Reach, Map<Reach, Reach>>();
  return {
    between(from, to) {
      if (isItself(from, to)) return everything;
      const [out, into] = [sideOf(from, to, "egress"), sideOf(to, from, "ingress")];
      // Few sides differ, so few intersections do.
      const known = met.get(out) ?? new Map<Reach, Reach>();
      met.set(out, known);
      const both = known.get(into) ?? intersect(out, into);
      known.set(into, both);
      return both;
    },
  };
}

/** Equal for identities that a policy treats alike: those in the same selectors, with the same named ports where these matter. */
function alikeKey({ cache }: World, { state }: EndpointPolicy, direction: Direction, identity: NumericIdentity): string {
  const { selectors, namedPorts } = state[direction];
  const taken = selectors.flatMap(({ cached }, i) => (cached.identities.has(identity) ? [i] : []));
  const ports = namedPorts ? (cache.entry(identity)?.namedPorts ?? []).map((one) => `${one.name}/${one.protocol}/${one.port}`) : [];
  return `${direction} ${taken.join()} ${ports.sort().join()}`;
}

function reachOf(policy: EndpointPolicy, direction: Direction, identity: NumericIdentity, protocols: readonly number[]): Reach {
  // Rules that cannot be merged leave nothing to go by: nobody is said to get through.
  if (policy.error !== undefined) return [];
  const ofDirection = (entries: readonly PolicyMapEntry[]) => entries.filter((one) => one.direction === direction);
  const ofPeer = ofDirection(policy.entriesFor(identity));
  const ofAny = ofDirection(policy.entriesFor(reservedIdentity.unknown));
  const proxied = policy.l7(direction);
  return protocols.flatMap((protocol) => {
    const cuts = cutsOf(protocol, [...ofPeer, ...ofAny], proxied);
    const spans = cuts.flatMap((first, i): Span[] => {
      const entry = decideAmong(ofPeer, ofAny, { direction, identity, protocol, port: first });
      if (entry === undefined || entry.deny) return [];
      const l7 = entry.proxy === undefined ? "" : l7Text(proxied, identity, protocol, first);
      return l7 === undefined ? [] : [{ protocol, first, last: (cuts[i + 1] ?? lastOf(protocol) + 1) - 1, l7 }];
    });
    return joined(spans);
  });
}

/** Where something may change along the ports of a protocol: the first port of each stretch, beginning with 0. */
function cutsOf(protocol: number, entries: readonly PolicyMapEntry[], proxied: readonly L7Policy[]): number[] {
  const cuts = new Set([0]);
  for (const { protocol: own, port, portPrefix } of entries) {
    if (own !== protocol || portPrefix === 0) continue;
    cuts.add(port).add(port + 2 ** (16 - portPrefix));
  }
  for (const { protocol: own, port, endPort } of proxied) {
    if (own === protocol || own === 0) cuts.add(port).add(Math.max(port, endPort) + 1);
  }
  return [...cuts].filter((port) => port <= lastOf(protocol)).sort((a, b) => a - b);
}

/** What the proxy lets through, in one canonical line; empty when it is everything, undefined when it is nothing. */
function l7Text(proxied: readonly L7Policy[], identity: NumericIdentity, protocol: number, port: number): string | undefined {
  const rules = proxied
    .filter((one) => (one.protocol === 0 || one.protocol === protocol) && one.port <= port && port <= Math.max(one.port, one.endPort))
    .flatMap((one) => one.rules.filter(({ identities }) => identities === null || identities.includes(identity)));
  if (rules.some(isOpen)) return "";
  const texts = new Set([
    ...requestTexts(rules.flatMap(({ http }) => http ?? [])),
    ...nameTexts(rules.flatMap(({ dns }) => dns ?? [])).map((text) => `DNS ${text}`),
    ...kafkaTexts(rules.flatMap(({ kafka }) => kafka ?? [])).map((text) => `Kafka ${text}`),
    ...nameTexts(rules.flatMap(({ serverNames }) => (serverNames ?? []).map((matchPattern) => ({ matchPattern })))).map(
      (text) => `TLS ${text}`,
    ),
    ...rules.flatMap(({ listener }) => (listener === undefined ? [] : [`listener ${listener}`])),
  ]);
  return texts.size === 0 ? undefined : [...texts].sort().join(", ");
}

/** Whether a rule lets everything through. */
function isOpen({ http, dns, kafka, serverNames, listener }: L7Rule): boolean {
  return listener === undefined && [http, dns, kafka, serverNames].every((list) => (list ?? []).length === 0);
}
