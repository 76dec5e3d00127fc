import { policyKey, ruleKey } from "../rule.ts";
import type { World } from "../world/world.ts";
import { lintAlone } from "./alone.ts";
import { lintBlocks } from "./blocks.ts";
import { lintCapacity } from "./capacity.ts";
import { lintDenials } from "./denials.ts";
import { lintDns } from "./dns.ts";
import { type Finding, severityOrder } from "./finding.ts";
import { lintHistory } from "./history.ts";
import { lintHosts } from "./hosts.ts";
import { lintKinds } from "./kinds.ts";
import { lintMoot } from "./moot.ts";
import { lintNodes } from "./nodes.ts";
import { once } from "./once.ts";
import { lintOverlaps } from "./overlaps.ts";
import { lintPorts } from "./ports.ts";
import { lintPrefixes } from "./prefixes.ts";
import { lintReferences } from "./references.ts";
import { lintReplicas } from "./replicas.ts";
import { lintSelectors } from "./selectors.ts";
import { lintServices } from "./services.ts";
import { lintSides } from "./sides.ts";
import { type Pods, podsOf } from "./subjects.ts";

/** What the words of two rules show is said once, though pods show it too. */
function overlaps(world: World, pods: readonly Pods[]): Finding[] {
  const said = [...lintMoot(world.policies.map(({ parsed }) => parsed))];
  const places = new Set(said.map(({ rule }) => rule && ruleKey(rule)));
  return [...said, ...[...lintOverlaps(world, pods)].filter(({ id, rule }) => id !== "L08" || !places.has(rule && ruleKey(rule)))];
}

/**
 * What the policies of a world show to be probably not meant, the worst first. Where the world has no pods each policy is looked at by itself.
 * `flows` are recorded ones, for what only history tells.
 */
export function lintWorld(world: World, flows: readonly unknown[] = []): Finding[] {
  const pods = podsOf(world);
  const findings = [
    ...world.policies.flatMap((policy) => [...lintAlone(policy)]),
    ...lintKinds(world),
    ...lintSelectors(world, pods),
    ...lintNodes(world),
    ...lintReferences(world),
    ...lintDenials(world, pods),
    ...overlaps(world, pods),
    ...lintDns(world, pods),
    ...lintServices(world, pods),
    ...lintPorts(world, pods),
    ...lintBlocks(world),
    ...lintPrefixes(world),
    ...lintHosts(world),
    ...lintCapacity(world, pods),
    ...lintSides(pods),
    ...lintReplicas(pods),
    ...lintHistory(world, pods, flows),
  ];
  const order = once((one: Finding) => `${severityOrder[one.severity]} ${policyKey(one.policy)} ${one.id}`);
  return findings.sort((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0));
}
