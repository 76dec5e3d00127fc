import { stringify } from "yaml";
import { objectOf } from "#policy/parse/fields.ts";
import { policyKey, type RuleRef, sectionPath } from "#policy/rule.ts";
import { objectsIn } from "#policy/world/documents.ts";
import { rulePath } from "#policy/world/objects.ts";
import type { World, WorldPolicy } from "#policy/world/world.ts";
import { reservedIdentity } from "#types/identity.ts";
import type { Snapshot } from "./cluster-view.ts";

/** A policy in the page's list. */
export interface PolicyRow {
  readonly key: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Why it has no effect; none when it has. */
  readonly issues: readonly string[];
  readonly audit: boolean;
  /** `namespace/workload`, or `node NAME`. */
  readonly selects: readonly string[];
  readonly packets: number;
  readonly audited: number;
  /** RFC 3339; empty: never. */
  readonly lastHit: string;
  readonly rules: readonly RuleRow[];
}

/** A rule, or a policy's default deny, with the packets and requests that it has decided about. */
export interface RuleRow {
  readonly rule: string;
  readonly hits: number;
}

/** A policy as its author would write it, and the lines of its rules. */
export interface PolicyText {
  readonly yaml: string;
  readonly lines: Readonly<Record<string, number>>;
}

/** All policies of the cluster by namespace and name, with whom they select and what they have decided. Pure. */
export function policyList({ world, usage }: Snapshot): PolicyRow[] {
  const selected = selections(world);
  const rows = world.policies.map((policy): PolicyRow => {
    const { kind, namespace, name } = policy.parsed.ref;
    const { packets = 0, audited = 0, lastHit = "", rules = {} } = usage.get(policy.key) ?? {};
    return {
      key: policy.key,
      kind,
      namespace,
      name,
      issues: policy.parsed.issues.map(({ path, message }) => `${path}: ${message}`),
      audit: policy.parsed.audit,
      selects: [...(selected.get(policy.key) ?? [])].sort(),
      packets,
      audited,
      lastHit,
      rules: ruleRows(policy, rules),
    };
  });
  return rows.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.kind, b.kind));
}

/** A workload as one may draw policies about it. */
export interface WorkloadRow {
  readonly namespace: string;
  readonly name: string;
  /** `k8s:app=web`, without Cilium's own. */
  readonly labels: readonly string[];
}

/** All workloads with pods, by namespace and name. Pure. */
export function workloadList({ world }: Snapshot): WorkloadRow[] {
  const rows = new Map<string, WorkloadRow>();
  for (const { namespace, workload, identityLabels } of world.endpoints) {
    const labels = identityLabels.texts.filter((text) => text.startsWith("k8s:") && !text.startsWith("k8s:io."));
    if (namespace !== "") rows.set(`${namespace}/${workload.name}`, { namespace, name: workload.name, labels });
  }
  return [...rows.values()].sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function ruleRows({ parsed }: WorldPolicy, hits: Readonly<Record<string, number>>): RuleRow[] {
  const own = parsed.rules.map(({ origin }) => sectionPath(origin));
  const denies = Object.keys(hits).filter((rule) => rule.endsWith("default deny"));
  return [...new Set([...own, ...denies])].map((rule) => ({ rule, hits: hits[rule] ?? 0 }));
}

/** Whom each policy selects, by `policyKey`. */
export function selections(world: World): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const note = (key: string, title: string) => found.set(key, (found.get(key) ?? new Set()).add(title));
  for (const { identity, identityLabels, namespace, workload } of world.endpoints) {
    for (const { policy } of world.repo.select(identityLabels, identity)) note(policyKey(policy), `${namespace}/${workload.name}`);
  }
  if (!world.settings.hostFirewall) return found;
  for (const { name, labels } of world.nodes) {
    for (const { policy } of world.repo.select(labels, reservedIdentity.host)) note(policyKey(policy), `node ${name}`);
  }
  return found;
}

/** The text of a policy without what the API server adds to it; undefined when there is none of this key. */
export function policyText({ world }: Snapshot, key: string): PolicyText | undefined {
  const policy = world.policy(key);
  if (policy === undefined) return undefined;
  const { apiVersion, kind, metadata, spec, specs } = objectOf(policy.from.object);
  const { name, namespace, labels, annotations } = objectOf(metadata);
  const own = { name, namespace, labels, annotations: annotationsOf(annotations) };
  const yaml = stringify({ apiVersion: apiVersion ?? DEFAULT_VERSIONS[String(kind)], kind, metadata: own, spec, specs });
  const source = objectsIn(policy.key, yaml)[0]?.source;
  const lineOf = (rule: RuleRef) => source?.locate(rulePath(policy.from.object, rule))?.line;
  const lines = policy.parsed.rules.flatMap(({ origin }) => {
    const line = lineOf(origin);
    return line === undefined ? [] : [[sectionPath(origin), line] as const];
  });
  return { yaml, lines: Object.fromEntries(lines) };
}

/** The items of a list do not say their version. */
const DEFAULT_VERSIONS: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: "cilium.io/v2",
  CiliumClusterwideNetworkPolicy: "cilium.io/v2",
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
};

/** What `kubectl apply` remembers is the whole object once more. */
function annotationsOf(annotations: unknown): object | undefined {
  const own = Object.entries(objectOf(annotations)).filter(([key]) => key !== "kubectl.kubernetes.io/last-applied-configuration");
  return own.length === 0 ? undefined : Object.fromEntries(own);
}
