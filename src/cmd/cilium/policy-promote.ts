import type { RuleUsage } from "#agent/usage-view.ts";
import { type Cluster, isNotFound } from "#k8s/client.ts";
import {
  CILIUM_CLUSTERWIDE_NETWORK_POLICIES,
  CILIUM_NETWORK_POLICIES,
  CLUSTER_NETWORK_POLICIES,
  NETWORK_POLICIES,
  type Resource,
} from "#k8s/resources.ts";
import type { PolicyObject } from "#k8s/types.ts";
import { auditAnnotation, auditModeOf, policyKey } from "#policy/rule.ts";
import { type AuditPlace, auditedBy } from "#policy/world/audit.ts";
import { CodedError } from "#runtime/errors.ts";
import type { AskOptions } from "./agents.ts";
import { formatOutput } from "./output.ts";
import { auditedPods } from "./policy-live.ts";
import { auditedText, usageOf } from "./policy-usage.ts";
import { loadWorld } from "./world.ts";

/** The policy cannot be promoted: there is none of that name, or it is not in audit mode. */
export class PromoteError extends CodedError {}

export interface PromoteOptions extends AskOptions {
  readonly output?: string;
  /** Only shows what it would do. */
  readonly dryRun: boolean;
}

type PolicyResource = Resource<PolicyObject>;

interface Candidate {
  readonly resource: PolicyResource;
  readonly object: PolicyObject;
}

/**
 * `policy promote`: removes the audit annotation. `ok` is false when that is not all: something else keeps it in audit mode, or, with `dryRun`, it
 * would deny what was seen. Rejects before it changes anything when one of the policies cannot be promoted.
 */
export async function policyPromote(
  names: readonly string[],
  options: PromoteOptions,
): Promise<{ readonly text: string; readonly ok: boolean }> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const [all, world, usage, audited] = await Promise.all([
    candidates(cluster),
    loadWorld({ namespace: options.namespace, kubeconfig: options.kubeconfig }),
    usageOf(options),
    auditedPods(options),
  ]);
  const results = [...new Set(names)].map((name): Promotion => {
    const candidate = choose(all, name, (one) => auditedBy(world, keyOf(one), audited));
    const title = titleOf(candidate);
    return { candidate, title, denials: denialsOf(candidate, usage), stillBy: auditedBy(world, keyOf(candidate), audited) };
  });
  if (!options.dryRun) {
    const patch = { metadata: { annotations: { [auditAnnotation]: null } } };
    for (const { candidate } of results) await cluster.patch(candidate.resource, candidate.object.metadata, "merge", patch);
  }
  const ok = results.every(({ denials, stillBy }) => stillBy.length === 0 && !(options.dryRun && denials.length > 0));
  if (options.output) {
    const rows = results.map(({ title, denials, stillBy }) => ({
      ...{ policy: title, enforced: !options.dryRun && stillBy.length === 0, wouldHaveDenied: denials },
      stillAuditedBy: stillBy.map((place) => ({ what: place.title, end: place.end })),
    }));
    return { text: await formatOutput(options.output, rows), ok };
  }
  return { text: results.map((one) => resultText(one, options.dryRun)).join(""), ok };
}

interface Promotion {
  readonly candidate: Candidate;
  readonly title: string;
  readonly denials: readonly Denial[];
  /** What keeps it in audit mode without its own annotation. */
  readonly stillBy: readonly AuditPlace[];
}

async function candidates(cluster: Cluster): Promise<Candidate[]> {
  const resources = [CILIUM_NETWORK_POLICIES, CILIUM_CLUSTERWIDE_NETWORK_POLICIES, NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES];
  const lists = await Promise.all(resources.map(async (resource) => ({ resource, items: await listKnown(cluster, resource) })));
  return lists.flatMap(({ resource, items }) => items.map((object) => ({ resource, object })));
}

/** Not every cluster knows every kind. */
async function listKnown(cluster: Cluster, resource: PolicyResource): Promise<readonly PolicyObject[]> {
  try {
    return (await cluster.list(resource, {})).items;
  } catch (thrown) {
    if (isNotFound(thrown)) return [];
    throw thrown;
  }
}

function choose(all: readonly Candidate[], name: string, auditedBesides: (one: Candidate) => readonly AuditPlace[]): Candidate {
  const found = all.filter(({ object: { metadata } }) => name === metadata.name || name === `${metadata.namespace ?? ""}/${metadata.name}`);
  const audited = found.filter(({ object }) => auditModeOf(object.metadata.annotations) === true);
  const [first, ...more] = audited.length > 0 ? audited : found;
  if (first === undefined) throw new PromoteError("no-policy", `there is no policy ${name}`);
  if (audited.length === 0) throw notAudited(first, auditedBesides(first));
  if (more.length > 0) {
    const titles = audited.map(titleOf).join(", ");
    throw new PromoteError("ambiguous", `${name} is the name of several policies (${titles}); say NAMESPACE/NAME`);
  }
  return first;
}

function notAudited(one: Candidate, places: readonly AuditPlace[]): PromoteError {
  const title = titleOf(one);
  if (places.length === 0) return new PromoteError("not-audited", `${title} is not in audit mode: it is enforced already`);
  const what = places.map((place) => `\n  ${place.title}; this ends it: ${place.end}`).join("");
  return new PromoteError(
    "not-annotated",
    `${title} has no audit annotation of its own, so there is nothing to promote; it is audited by${what}`,
  );
}

function titleOf({ resource, object: { metadata } }: Candidate): string {
  return `${resource.kind} ${metadata.namespace ? `${metadata.namespace}/` : ""}${metadata.name}`;
}

function keyOf({ resource, object: { metadata } }: Candidate): string {
  return policyKey({ kind: resource.kind, namespace: metadata.namespace ?? "", name: metadata.name });
}

interface Denial extends Pick<RuleUsage, "section" | "direction" | "index" | "lastHit"> {
  readonly packets: number;
  readonly requests: number;
}

function denialsOf({ resource: { kind }, object: { metadata } }: Candidate, usage: readonly RuleUsage[]): Denial[] {
  return usage
    .filter((row) => row.kind === kind && row.name === metadata.name && row.namespace === (metadata.namespace ?? ""))
    .filter((row) => row.audited + row.requests.audited > 0)
    .map(({ section, direction, index, audited, requests, lastHit }) => ({
      ...{ section, direction, index, lastHit },
      ...{ packets: audited, requests: requests.audited },
    }));
}

function resultText({ title, denials, stillBy }: Promotion, dryRun: boolean): string {
  const lines = denials.map(({ section, direction, index, packets, requests, lastHit }) => {
    const rule = section === "default-deny" ? `${direction} default deny` : `${section}[${index}]`;
    const what = auditedText({ audited: packets, requests: { allowed: 0, denied: 0, audited: requests } });
    return `  ${rule}: ${what}, the last at ${lastHit}`;
  });
  const found =
    denials.length === 0
      ? "would have denied nothing so far"
      : `would have denied so far (flows: hubble observe --verdict AUDIT):\n${lines.join("\n")}`;
  const state = stillBy.length === 0 ? "is enforced now" : "has no audit annotation any more, but is still not enforced everywhere";
  const still = stillBy.map(({ title: place, end }) => `  ${place} is in audit mode; this ends it: ${end}\n`).join("");
  return `${title} ${dryRun ? "stays in audit mode" : state}; it ${found}\n${still}`;
}
