import { type Finding, type Severity, severityOrder } from "#policy/lint/finding.ts";
import { lintWorld } from "#policy/lint/lint.ts";
import { placeOf } from "#policy/lint/place.ts";
import { policyKinds } from "#policy/parse/parse.ts";
import { partiesOf } from "#policy/reach/parties.ts";
import { protocolsOf, reachesOf } from "#policy/reach/reach.ts";
import { formatReach } from "#policy/reach/span.ts";
import type { Observed } from "#policy/replay/observed.ts";
import { proposedWorld } from "#policy/replay/proposed.ts";
import { type WhatIf, whatIf } from "#policy/replay/what-if.ts";
import { policyKey } from "#policy/rule.ts";
import { DocumentError, objectsIn } from "#policy/world/documents.ts";
import { identityOf, type SourcedObject } from "#policy/world/objects.ts";
import { type Party, subjectOf } from "#policy/world/party.ts";
import { createWorld, type World } from "#policy/world/world.ts";
import { type Direction, directions } from "#types/direction.ts";
import type { Place } from "#yaml/documents.ts";
import type { Snapshot } from "./cluster-view.ts";
import { selections } from "./policy-list.ts";

/** Something about a text; lines count from 1. */
export interface Problem {
  readonly severity: Severity;
  /** A lint's id; `YAML` for text that is none. */
  readonly id: string;
  readonly line?: number;
  readonly message: string;
  readonly fix: string;
}

/** What a proposed policy does. */
export interface Proposed {
  readonly key: string;
  /** The cluster has one of this name already. */
  readonly replaces: boolean;
  readonly selects: readonly string[];
}

/** What proposed policies by themselves let one workload do in a direction that they restrict; peers with the same answer together. */
export interface Allowed {
  readonly subject: string;
  readonly direction: Direction;
  readonly peers: readonly { readonly what: string; readonly who: readonly string[] }[];
}

export interface Review {
  readonly problems: readonly Problem[];
  readonly policies: readonly Proposed[];
  readonly allows: readonly Allowed[];
}

/** What is wrong with policies that somebody is writing, and what they would do in this cluster. Never throws for what is in the text. Pure. */
export function reviewText(text: string, { policies, subjects, world }: Snapshot): Review {
  const read = proposedIn(text);
  if (read.objects.length === 0) return { problems: read.problems, policies: [], allows: [] };
  const after = createWorld([...policies, ...subjects, ...read.objects]);
  const keys = new Set(createWorld(read.objects).policies.map(({ key }) => key));
  const findings = lintWorld(after).filter(({ policy }) => keys.has(policyKey(policy)));
  const selected = selections(after);
  return {
    problems: [...read.problems, ...findings.map((finding) => problemOf(after, finding))].sort(
      (a, b) => severityOrder[a.severity] - severityOrder[b.severity] || (a.line ?? 0) - (b.line ?? 0),
    ),
    policies: [...keys].map((key) => ({
      key,
      replaces: world.policy(key) !== undefined,
      selects: [...(selected.get(key) ?? [])].sort(),
    })),
    allows: allowedBy(createWorld([...subjects, ...read.objects])),
  };
}

/** Why a text cannot be replayed; undefined when it can. */
export function refusal(text: string): string | undefined {
  const { problems, objects } = proposedIn(text);
  if (objects.length === 0) return problems[0]?.message ?? "there is no network policy in the text";
  const refused = createWorld(objects).policies.find(({ parsed }) => parsed.issues.length > 0);
  const [issue] = refused?.parsed.issues ?? [];
  return issue && `${refused?.key} is refused: ${issue.path}: ${issue.message}`;
}

/** What proposed policies would have done to recorded traffic. The text is one without `refusal`. Pure. */
export function replayText(text: string, { policies, subjects, world }: Snapshot, observed: readonly Observed[]): WhatIf {
  return whatIf(world, proposedWorld([...policies, ...subjects], proposedIn(text).objects), observed);
}

/** The policies in a text; other objects are passed over, and said to be. */
function proposedIn(text: string): { readonly objects: readonly SourcedObject[]; readonly problems: readonly Problem[] } {
  let all: readonly SourcedObject[];
  try {
    all = objectsIn("line", text);
  } catch (thrown) {
    if (!(thrown instanceof DocumentError)) throw thrown;
    const message = thrown.message.replace(/^line:\d+:\d+: /, "");
    return { objects: [], problems: [{ severity: "error", id: "YAML", ...lineOf(thrown.place), message, fix: "mend the YAML" }] };
  }
  const isPolicy = ({ object }: SourcedObject) => policyKinds.includes(identityOf(object).kind);
  const others = all.filter((one) => !isPolicy(one));
  const problems = others.map(({ object, source }): Problem => {
    const message = `${identityOf(object).kind || "this"} is no network policy, and is passed over`;
    return { severity: "warning", id: "YAML", ...lineOf(source.locate("kind")), message, fix: `kinds are ${policyKinds.join(", ")}` };
  });
  return { objects: all.filter(isPolicy), problems };
}

function lineOf(place: Place | undefined): { readonly line?: number } {
  return place === undefined ? {} : { line: place.line };
}

function problemOf(world: World, finding: Finding): Problem {
  const { severity, id, message, fix } = finding;
  return { severity, id, ...lineOf(placeOf(world, finding).place), message, fix };
}

function allowedBy(world: World): Allowed[] {
  const protocols = protocolsOf(world);
  const reaches = reachesOf(world, protocols);
  const parties = partiesOf(world);
  const between = (subject: Party, peer: Party, direction: Direction) =>
    direction === "ingress" ? reaches.between(peer, subject) : reaches.between(subject, peer);
  return parties.flatMap((party) =>
    directions.flatMap((direction): Allowed[] => {
      const subject = subjectOf(world, party);
      if (subject === undefined || !world.policyOf(subject)[direction].defaultDeny) return [];
      const peers = parties.filter((peer) => peer !== party && !(direction === "ingress" && peer.kind === "outside" && peer.name));
      const byReach = Map.groupBy(peers, (peer) => formatReach(between(party, peer, direction), protocols));
      byReach.delete(formatReach([], protocols));
      return [
        { subject: party.title, direction, peers: [...byReach].map(([what, who]) => ({ what, who: who.map(({ title }) => title) })) },
      ];
    }),
  );
}
