import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { NumericIdentity } from "#types/identity.ts";
import { protocolNumber } from "#types/proto.ts";
import type { L7Rule } from "../resolve/l7-policy.ts";
import { type Connection, judge, type Side } from "../world/connection.ts";
import { outsideParty } from "../world/outside.ts";
import { identitySeenBy, type Party } from "../world/party.ts";
import type { World } from "../world/world.ts";
import { connectionKey, type End, type Observed } from "./observed.ts";

/** What a world's policies say of recorded traffic. `uncertain`: the record does not hold what a rule asks for. */
export type Outcome = {
  readonly outcome: "allowed" | "denied" | "uncertain";
  /** Why not simply allowed. */
  readonly why: string;
  /** The end whose policies deny. */
  readonly by?: Side | undefined;
};

/** Judges recorded traffic by a world's policies. */
export interface Judge {
  judge(observed: Observed): Outcome;
}

/** `all` is everything recorded: requests within a connection say what its rules let pass of it. With `brief` nobody asks for the reasons. */
export function createJudge(world: World, all: readonly Observed[], { brief = false } = {}): Judge {
  const withRequests = new Set(all.filter(({ http, dns }) => http !== undefined || dns !== undefined).map(connectionKey));
  return {
    judge(observed) {
      const ends = { from: partyOf(world, observed.from), to: partyOf(world, observed.to), brief };
      return judgeOne(world, ends, observed, withRequests);
    },
  };
}

/** Who an end is in this world. */
function partyOf(world: World, end: End): Party {
  switch (end.kind) {
    case "pod":
      return podParty(world, end);
    case "entity": {
      const identity = NumericIdentity(end.identity);
      if (["host", "remote-node", "kube-apiserver"].includes(end.title))
        return { kind: "node", title: end.title, node: undefined, identity };
      return { kind: "outside", title: end.title, identity };
    }
    case "outside":
      return outsideParty(world, end.title, { address: end.address, learned: end.names });
  }
}

function podParty(world: World, { labels, title }: Extract<End, { kind: "pod" }>): Party {
  const identity = world.identityFor(labels);
  const pods = world.endpoints.filter((one) => one.identity === identity);
  return { kind: "pod", title, subject: { identity, labels, namedPorts: pods[0]?.namedPorts ?? [] }, pods, node: "" };
}

function judgeOne(
  world: World,
  ends: Pick<Connection, "from" | "to" | "brief">,
  observed: Observed,
  withRequests: ReadonlySet<string>,
): Outcome {
  const { protocol, port, http } = observed;
  const sides = judge(world, { ...ends, protocol, port, http });
  for (const side of [sides.egress, sides.ingress]) {
    if (side === undefined) continue;
    if (!side.allowed) return { outcome: "denied", why: whyOf(side), by: side };
    const within = requestOutcome(side, ends, observed, withRequests);
    if (within !== undefined) return within;
  }
  return { outcome: "allowed", why: "" };
}

/** What the proxy makes of it, where the traffic goes there and `judge` has not said. */
function requestOutcome(
  side: Side,
  ends: Pick<Connection, "from" | "to">,
  observed: Observed,
  withRequests: ReadonlySet<string>,
): Outcome | undefined {
  const { verdict } = side.explanation.verdict;
  if (verdict !== "redirected" || observed.http !== undefined) return undefined;
  const rules = rulesFor(side, ends, observed);
  if (observed.dns !== undefined) {
    if (rules.some(({ dns }) => dns === null || allowsName(dns, observed.dns ?? ""))) return undefined;
    return { outcome: "denied", why: `${side.direction}: no DNS rule allows ${observed.dns}`, by: side };
  }
  if (rules.some(allowsEverything) || withRequests.has(connectionKey(observed))) return undefined;
  return { outcome: "uncertain", why: `${side.direction}: only some requests are allowed, and none is recorded` };
}

/** The application rules that apply to this peer and port. */
function rulesFor({ policy, direction }: Side, { from, to }: Pick<Connection, "from" | "to">, { protocol, port }: Observed): L7Rule[] {
  const identity = direction === "egress" ? identitySeenBy(to, from) : identitySeenBy(from, to);
  return policy
    .l7(direction)
    .filter((one) => (one.protocol === 0 || one.protocol === protocol) && one.port <= port && port <= Math.max(one.port, one.endPort))
    .flatMap(({ rules }) => rules)
    .filter(({ identities }) => identities === null || identities.includes(identity));
}

function allowsName(patterns: NonNullable<L7Rule["dns"]>, name: string): boolean {
  return patterns.some((pattern) => fqdnMatcher(pattern)(normalizeName(name)));
}

function allowsEverything({ http, dns, kafka, serverNames }: L7Rule): boolean {
  return (
    http === null &&
    kafka === null &&
    serverNames === null &&
    (dns === null || dns.some(({ matchPattern }) => /^\*+$/.test(matchPattern ?? "")))
  );
}

/** The decision of one end in a line. */
function whyOf({ direction, explanation }: Side): string {
  const { lines, nearest, http } = explanation;
  const near = nearest[0] ?? http?.nearest[0];
  const reasons = near === undefined ? "" : `; nearest: rule ${near.origin.index} of ${near.origin.name}: ${near.reasons.join("; ")}`;
  return `${lines.at(-1) ?? direction}${reasons}`;
}

/** Ports that DNS is asked on. */
export function isDns({ protocol, port }: Pick<Observed, "protocol" | "port">): boolean {
  return port === 53 && (protocol === protocolNumber.UDP || protocol === protocolNumber.TCP);
}
