import type { PolicyRef, RuleRef } from "../rule.ts";

/** How sure it is that something is wrong: surely, probably, perhaps. */
export type Severity = "error" | "warning" | "info";

/** Something that is legal but probably not meant (or, for L00, refused). */
export type Finding = {
  /** Stable: the same kind of finding always has the same id. */
  readonly id: LintId;
  readonly severity: Severity;
  readonly policy: PolicyRef;
  readonly rule?: RuleRef;
  /** The place in the object, when it is neither the rule nor the whole: `spec.ingress[0].toPorts[0]`. */
  readonly path?: string;
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
};

/** Every kind of finding, in a few words. */
export const catalogue = {
  L00: "the policy is refused and has no effect",
  L01: "default deny by an empty list, which Cilium refuses",
  L02: "names without a DNS rule",
  L03: "a service's port where its target port is needed",
  L04: "an address block that can not match pods or nodes",
  L05: "a selector that matches nobody now",
  L06: "a selector that misses pods of other namespaces",
  L07: "application rules on a port without a protocol",
  L08: "application rules that a wider allow makes moot",
  L09: "a rule whose traffic a stronger one decides: an allow behind a deny, a deny behind an accept",
  L10: "a rule, or a policy, that adds nothing to another",
  L11: "a pattern of names that is too wide, or misses names that it seems to take",
  L12: "a default deny by its name that allows everybody",
  L13: "pods cut off from DNS",
  L14: "the cluster's DNS cut off from its clients",
  L15: "kube-apiserver on a port that the API server does not listen on",
  L16: "a field, source or label that is probably misspelt",
  L17: "a pattern of requests that does not match what it looks like",
  L18: "more policy map entries than there is room for",
  L19: "an allow at one end that the other end denies",
  L20: "a host policy that locks out SSH or the API server",
  L21: "something that only Cilia understands",
  L22: "HTTP rules on a port that carries TLS",
  L23: "replicas of one workload that policies treat differently",
  L24: "an empty list, or an empty entry, that means something else than it seems",
  L25: "what no API server stores",
  L26: "a field that Cilium has and Cilia does not serve",
  L27: "what a deny list ignores: application rules, authentication",
  L28: "a namespace that is not the policy's own, which decides nothing or selects nobody",
  L29: "an address block that is more, or less, than it looks like",
  L30: "a port that none of the pods has",
  L31: "entries that look like one rule and are two",
  L32: "a denial that denies more than it names",
  L33: "a policy that a setting switches off",
} as const;

/** The id of a kind of finding. */
export type LintId = keyof typeof catalogue;

/** Position of a severity: the worst first. */
export const severityOrder: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };
