import { type FqdnSelector, validateFqdn } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { addressFamily } from "#types/addr.ts";
import type { End, Observed } from "./observed.ts";
import { endKey } from "./observed.ts";

/** Labels that say what a pod is, in the order in which people use them. */
const telling = [
  "app.kubernetes.io/name",
  "app.kubernetes.io/instance",
  "app.kubernetes.io/component",
  "app",
  "k8s-app",
  "name",
  "component",
  "role",
  "tier",
];

/** Labels that differ from one pod, or one rollout, of a workload to the next. */
const volatile =
  /^(pod-template-hash|pod-template-generation|controller-revision-hash|controller-uid|job-name|statefulset\.kubernetes\.io\/.*|batch\.kubernetes\.io\/.*|apps\.kubernetes\.io\/.*|io\.cilium\..*|io\.kubernetes\..*)$/;

export type Pod = Extract<End, { kind: "pod" }>;

/** How a learned policy names pods. */
export interface Selectors {
  /** The labels that select this pod, and no other that was seen in its namespace. */
  of(pod: Pod): Readonly<Record<string, string>>;
  /** Equal for pods that one selector stands for; for other ends, their own key. */
  key(end: End): string;
}

/** Selectors for the pods of recorded traffic: as few labels as tell them apart. */
export function createSelectors(observed: readonly Observed[]): Selectors {
  const pods = new Map(
    observed.flatMap(({ from, to }) => [from, to]).flatMap((end) => (end.kind === "pod" ? [[endKey(end), end] as const] : [])),
  );
  const chosen = new Map([...pods].map(([key, pod]) => [key, choose(pod, [...pods.values()])]));
  const of = (pod: Pod) => chosen.get(endKey(pod)) ?? userLabels(pod.labels);
  const keys = new WeakMap<End, string>();
  const makeKey = (end: End) => (end.kind === "pod" ? `${end.namespace} ${JSON.stringify(of(end))}` : endKey(end));
  const key = (end: End) => {
    const made = keys.get(end) ?? makeKey(end);
    keys.set(end, made);
    return made;
  };
  return { of, key };
}

/** The telling labels, unless they also select a pod of another workload: then all that are not volatile. */
function choose(pod: Pod, all: readonly Pod[]): Readonly<Record<string, string>> {
  const own = userLabels(pod.labels);
  const few = Object.fromEntries(telling.flatMap((key) => (own[key] === undefined ? [] : [[key, own[key]] as const])));
  const entries = Object.entries(few);
  if (entries.length === 0) return own;
  const strangers = all.filter(({ namespace, workload }) => namespace === pod.namespace && workload !== pod.workload);
  const taken = strangers.some(({ labels }) => entries.every(([key, value]) => labels.get("k8s", key)?.value === value));
  return taken ? own : few;
}

function userLabels(labels: LabelSet): Record<string, string> {
  const own = labels.labels
    .filter(({ source, key }) => source === "k8s" && !volatile.test(key))
    .map(({ key, value }) => [key, value] as const);
  if (own.length > 0) return Object.fromEntries(own);
  const account = labels.get("k8s", labelKey.serviceAccount)?.value;
  return account === undefined ? {} : { [labelKey.serviceAccount]: account };
}

/** The selectors of just these names; undefined when one has none: pods ask for what is no name, too. Only a pattern may hold an underscore. */
export function nameSelectors(names: readonly string[]): FqdnSelector[] | undefined {
  const selectors = names.map((name) => [{ matchName: name }, { matchPattern: name }].find((one) => validateFqdn(one, false).length === 0));
  const found = selectors.filter((one) => one !== undefined);
  return found.length === names.length && names.every((name) => name !== "" && !name.includes("*")) ? found : undefined;
}

/** The part of a rule that names a peer: `{ fromEndpoints: [...] }`. Names come before addresses. */
export function peerClause(direction: "ingress" | "egress", peer: End, subject: Pod, selectors: Selectors): Record<string, unknown> {
  const prefix = direction === "ingress" ? "from" : "to";
  if (peer.kind === "pod") {
    const namespace = peer.namespace === subject.namespace ? {} : { [`k8s:${labelKey.namespace}`]: peer.namespace };
    return { [`${prefix}Endpoints`]: [{ matchLabels: { ...selectors.of(peer), ...namespace } }] };
  }
  if (peer.kind === "entity") return { [`${prefix}Entities`]: [peer.title] };
  const named = direction === "egress" && peer.names.length > 0 ? nameSelectors(peer.names) : undefined;
  if (named !== undefined) return { toFQDNs: named };
  return { [`${prefix}CIDR`]: [`${peer.address}/${addressFamily(peer.address) === 4 ? 32 : 128}`] };
}
