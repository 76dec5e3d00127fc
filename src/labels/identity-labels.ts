import { type Label, label, labelKey, parseKey } from "./label.ts";
import { type LabelSet, labelSetOf } from "./label-set.ts";

/** One entry of a label filter: labels whose key begins with `pattern` are taken in or left out; the longest match decides. */
export type LabelFilterRule = { readonly source: string; readonly pattern: RegExp; readonly exclude: boolean };

/** What makes the identity of a pod. */
export type IdentitySource = {
  readonly labels: Readonly<Record<string, string>>;
  readonly namespace: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly cluster: string;
};

const defaults = [
  "reserved:.*",
  "io\\.kubernetes\\.pod\\.namespace",
  "io\\.cilium\\.k8s\\.namespace\\.labels",
  "io\\.cilium\\.k8s\\.policy",
  "app\\.kubernetes\\.io",
  "!io\\.kubernetes",
  "!kubernetes\\.io",
  "!statefulset\\.kubernetes\\.io/pod-name",
  "!apps\\.kubernetes\\.io/pod-index",
  "!batch\\.kubernetes\\.io",
  "!.*beta\\.kubernetes\\.io",
  "!k8s\\.io",
  "!pod-template-generation",
  "!pod-template-hash",
  "!controller-revision-hash",
  "!annotation.*",
  "!controller-uid",
  "!job-name",
  "!etcd_node",
];

/** Reads the agent's `labels` setting: space-separated `[source:][!]pattern`, `!` leaves out. A pattern matches the beginning of a key. */
export function parseLabelFilter(text: string): readonly LabelFilterRule[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== "")
    .map(parseRule);
}

function parseRule(word: string): LabelFilterRule {
  const outer = word.startsWith("!");
  const { source, key } = parseKey(outer ? word.slice(1) : word);
  const inner = key.startsWith("!");
  return { source, pattern: new RegExp(`^(?:${inner ? key.slice(1) : key})`), exclude: outer || inner };
}

const defaultRules = defaults.map(parseRule);

function keeps(rules: readonly LabelFilterRule[], whitelist: boolean, one: Label): boolean {
  let included = -1;
  let excluded = -1;
  for (const rule of rules) {
    if (rule.source !== "any" && rule.source !== one.source) continue;
    const length = rule.pattern.exec(one.key)?.[0].length;
    if (length === undefined) continue;
    if (rule.exclude) excluded = Math.max(excluded, length);
    else included = Math.max(included, length);
  }
  if (included >= 0 || excluded >= 0) return included > excluded;
  return !whitelist;
}

/**
 * The labels that make a pod's identity (interfaces §12): its own labels that pass the filter, with its namespace, the namespace's labels, its
 * cluster and service account. `filter` is added to the default one; as soon as it takes something in, only what is taken in counts.
 */
export function identityLabels(pod: IdentitySource, filter: readonly LabelFilterRule[] = []): LabelSet {
  const labels = [
    ...Object.entries(pod.labels).map(([key, value]) => label(key, value)),
    ...Object.entries(pod.namespaceLabels).map(([key, value]) => label(`${labelKey.namespaceLabels}.${key}`, value)),
    label(labelKey.namespace, pod.namespace),
    label(labelKey.cluster, pod.cluster),
    label(labelKey.serviceAccount, pod.serviceAccount),
  ];
  const rules = [...defaultRules, ...filter];
  const whitelist = filter.some((rule) => !rule.exclude);
  return labelSetOf(labels.filter((one) => keeps(rules, whitelist, one)));
}
