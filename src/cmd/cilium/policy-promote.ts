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
import { auditAnnotation, auditModeOf } from "#policy/rule.ts";
import { CodedError } from "#runtime/errors.ts";
import type { AskOptions } from "./agents.ts";
import { formatOutput } from "./output.ts";
import { auditedText, usageOf } from "./policy-usage.ts";

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

/** `policy promote`: removes the audit annotation. Rejects before it changes anything when one of the policies cannot be promoted. */
export async function policyPromote(names: readonly string[], options: PromoteOptions): Promise<string> {
  const { openCluster } = await import("#k8s/client.ts");
  const { loadClusterConfig } = await import("#k8s/config.ts");
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: options.kubeconfig }));
  const all = await candidates(cluster);
  const chosen = names.map((name) => choose(all, name));
  const usage = await usageOf(options);
  const results = chosen.map(({ resource, object }) => ({ title: titleOf(resource, object), denials: denialsOf(resource, object, usage) }));
  if (!options.dryRun) {
    const patch = { metadata: { annotations: { [auditAnnotation]: null } } };
    for (const { resource, object } of chosen) await cluster.patch(resource, object.metadata, "merge", patch);
  }
  if (options.output) {
    const rows = results.map(({ title, denials }) => ({ policy: title, enforced: !options.dryRun, wouldHaveDenied: denials }));
    return formatOutput(options.output, rows);
  }
  return results.map(({ title, denials }) => resultText(title, denials, options.dryRun)).join("");
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

function choose(all: readonly Candidate[], name: string): Candidate {
  const found = all.filter(({ object: { metadata } }) => name === metadata.name || name === `${metadata.namespace ?? ""}/${metadata.name}`);
  const audited = found.filter(({ object }) => auditModeOf(object.metadata.annotations) === true);
  const [first, ...more] = audited.length > 0 ? audited : found;
  if (first === undefined) throw new PromoteError("no-policy", `there is no policy ${name}`);
  const title = titleOf(first.resource, first.object);
  if (audited.length === 0) throw new PromoteError("not-audited", `${title} is not in audit mode: it is enforced already`);
  if (more.length > 0) {
    const titles = audited.map(({ resource, object }) => titleOf(resource, object)).join(", ");
    throw new PromoteError("ambiguous", `${name} is the name of several policies (${titles}); say NAMESPACE/NAME`);
  }
  return first;
}

function titleOf({ kind }: PolicyResource, { metadata }: PolicyObject): string {
  return `${kind} ${metadata.namespace ? `${metadata.namespace}/` : ""}${metadata.name}`;
}

interface Denial extends Pick<RuleUsage, "section" | "direction" | "index" | "lastHit"> {
  readonly packets: number;
  readonly requests: number;
}

function denialsOf({ kind }: PolicyResource, { metadata }: PolicyObject, usage: readonly RuleUsage[]): Denial[] {
  return usage
    .filter((row) => row.kind === kind && row.name === metadata.name && row.namespace === (metadata.namespace ?? ""))
    .filter((row) => row.audited + row.requests.audited > 0)
    .map(({ section, direction, index, audited, requests, lastHit }) => ({
      ...{ section, direction, index, lastHit },
      ...{ packets: audited, requests: requests.audited },
    }));
}

function resultText(title: string, denials: readonly Denial[], dryRun: boolean): string {
  const lines = denials.map(({ section, direction, index, packets, requests, lastHit }) => {
    const rule = section === "default-deny" ? `${direction} default deny` : `${section}[${index}]`;
    const what = auditedText({ audited: packets, requests: { allowed: 0, denied: 0, audited: requests } });
    return `  ${rule}: ${what}, the last at ${lastHit}`;
  });
  const found =
    denials.length === 0
      ? "would have denied nothing so far"
      : `would have denied so far (flows: hubble observe --verdict AUDIT):\n${lines.join("\n")}`;
  return `${title} ${dryRun ? "stays in audit mode" : "is enforced now"}; it ${found}\n`;
}
