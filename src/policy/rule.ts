import type { FqdnSelector } from "#fqdn/pattern.ts";
import type { Requirement, Selector } from "#labels/selector.ts";
import type { IpFamily } from "#types/addr.ts";
import type { Direction } from "#types/direction.ts";
import type { Prefix } from "#types/prefix.ts";

/** Which object a policy is. `namespace` is empty for cluster-wide kinds. */
export type PolicyRef = { readonly kind: string; readonly namespace: string; readonly name: string; readonly uid: string };

/** The list that an entry stands in. */
export type Section = "ingress" | "ingressDeny" | "egress" | "egressDeny";

/** One entry of a policy as its author wrote it; both numbers count from 0. */
export type RuleRef = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly section: Section;
  readonly index: number;
  /** Position in `specs`; 0 for `spec`. */
  readonly spec: number;
};

/** The one name of a policy object: `CiliumNetworkPolicy/namespace/name`. */
export function policyKey(ref: { readonly kind: string; readonly namespace: string; readonly name: string }): string {
  return `${ref.kind}/${ref.namespace}/${ref.name}`;
}

/** Keys of references that were asked for before; they go with their reference. */
const keysOfRules = new WeakMap<RuleRef, string>();
const keysOfPolicies = new WeakMap<PolicyRef, string>();

/** The one name of a policy's entry. */
export function ruleKey(ref: RuleRef): string {
  const known = keysOfRules.get(ref);
  if (known !== undefined) return known;
  const key = `${policyKey(ref)}#${ref.spec}.${ref.section}.${ref.index}`;
  keysOfRules.set(ref, key);
  return key;
}

function keyOfPolicy(ref: PolicyRef): string {
  const known = keysOfPolicies.get(ref);
  if (known !== undefined) return known;
  const key = policyKey(ref);
  keysOfPolicies.set(ref, key);
  return key;
}

const sectionOrder: readonly Section[] = ["ingress", "ingressDeny", "egress", "egressDeny"];

/** Orders rules by their policies' names, then as their authors wrote them. */
export function byOrigin(a: Rule, b: Rule): number {
  if (a.policy !== b.policy) {
    const [left, right] = [keyOfPolicy(a.policy), keyOfPolicy(b.policy)];
    if (left !== right) return left < right ? -1 : 1;
  }
  const bySection = sectionOrder.indexOf(a.origin.section) - sectionOrder.indexOf(b.origin.section);
  return a.origin.spec - b.origin.spec || bySection || a.origin.index - b.origin.index;
}

/** Where a rule stands in its object: `ingress[0]`, `specs[1].egress[0]`. */
export function sectionPath({ section, index, spec }: Pick<RuleRef, "section" | "index" | "spec">): string {
  return `${spec > 0 ? `specs[${spec}].` : ""}${section}[${index}]`;
}

/** Writes an entry for people: `namespace/name (ingress) rule 0`. Kinds may share names, so what is no CiliumNetworkPolicy says its kind first. */
export function formatRuleRef(ref: RuleRef): string {
  const kind = ref.kind === "CiliumNetworkPolicy" ? "" : `${ref.kind} `;
  const spec = ref.spec > 0 ? ` specs[${ref.spec}]` : "";
  return `${kind}${ref.namespace === "" ? "" : `${ref.namespace}/`}${ref.name}${spec} (${ref.section}) rule ${ref.index}`;
}

/** A set of peers: identities whose labels meet all requirements and whose address block lies in `within` and in none of `except`. */
export type PeerSelector = {
  /** Equal selectors have equal texts. */
  readonly text: string;
  /** Everybody, known or not: what stands under identity 0 in a policy map. */
  readonly any: boolean;
  /** Nobody, whatever the labels. */
  readonly none: boolean;
  readonly requirements: readonly Requirement[];
  /** When set, a label of this source must be there. */
  readonly source?: string | undefined;
  /** When true, only what is outside the cluster counts. */
  readonly outside?: boolean | undefined;
  /** When set, everything that stands for an address block of this family is selected too. */
  readonly orFamily?: IpFamily | undefined;
  readonly within?: Prefix | undefined;
  readonly except: readonly Prefix[];
  readonly fqdn?: FqdnSelector | undefined;
};

/** A service that `toServices` names; resolved when the repository knows the services. */
export type ServiceReference = {
  readonly namespace: string;
  readonly name?: string | undefined;
  readonly selector?: Selector | undefined;
};

/** One HTTP rule; absent fields match everything. */
export type HttpRule = {
  readonly path?: string;
  readonly method?: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly headerMatches?: readonly HeaderMatch[];
};

/** A header condition; with `mismatch` it never makes the rule fail, but changes or logs the header. */
export type HeaderMatch = {
  readonly name: string;
  readonly value?: string;
  readonly secret?: SecretRef;
  readonly mismatch?: "LOG" | "ADD" | "DELETE" | "REPLACE";
};

/** A Kubernetes secret. */
export type SecretRef = { readonly namespace: string; readonly name: string };

/** A TLS context as the policy gives it. */
export type TlsContext = {
  readonly secret: SecretRef;
  readonly trustedCa?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
};

/** One Kafka rule (our extension: Cilium 1.20 ignores them). */
export type KafkaRule = {
  readonly role?: "produce" | "consume";
  readonly apiKey?: string;
  readonly apiVersion?: string;
  readonly clientID?: string;
  readonly topic?: string;
};

/** A proxy listener of a CiliumEnvoyConfig. */
export type ListenerRef = {
  readonly configKind: string;
  readonly configName: string;
  readonly name: string;
  /** 0 when not given. */
  readonly priority: number;
};

/** What application traffic a rule allows. An empty list is no list. */
export type L7Rules = { readonly http: readonly HttpRule[]; readonly dns: readonly FqdnSelector[]; readonly kafka: readonly KafkaRule[] };

/** A port, range or named port of one protocol. For ICMP the port is the type. */
export type PortSpec = {
  /** 0: every protocol. */
  readonly protocol: number;
  /** Set for a named port; then `port` is 0. */
  readonly name: string;
  readonly port: number;
  /** 0 when it is no range; one of a named port begins at the number that the name has. */
  readonly endPort: number;
};

/** Ports with what applies on them. */
export type PortRule = {
  readonly ports: readonly PortSpec[];
  readonly l7?: L7Rules | undefined;
  readonly serverNames: readonly string[];
  readonly terminatingTls?: TlsContext | undefined;
  readonly originatingTls?: TlsContext | undefined;
  readonly listener?: ListenerRef | undefined;
};

/** How peers must prove who they are. */
export type AuthType = "disabled" | "spire" | "test-always-fail";

/** What a rule does with the traffic that it names. */
export type RuleAction = "allow" | "deny" | "pass";

/** Tiers, the strongest first. */
export const tier = { admin: 0, normal: 1, baseline: 2 } as const;

/** One entry of a policy in the engine's form. */
export type Rule = {
  readonly policy: PolicyRef;
  readonly origin: RuleRef;
  readonly direction: Direction;
  readonly action: RuleAction;
  readonly tier: number;
  /** Within the tier; the lower the stronger. */
  readonly priority: number;
  /** Position within the policy where order counts (ClusterNetworkPolicy), else 0. */
  readonly order: number;
  readonly subject: Selector;
  /** True for a policy with `nodeSelector`: it applies to the host. */
  readonly onNode: boolean;
  readonly defaultDeny: boolean;
  readonly peers: readonly PeerSelector[];
  readonly services: readonly ServiceReference[];
  /** Null: every protocol and port. */
  readonly ports: readonly PortRule[] | null;
  /** What the rule's application rules mean beside a plain allow of the same peers and port; absent: they are widened by it. */
  readonly l7Merge?: "restrict" | undefined;
  readonly auth?: AuthType | undefined;
  /** The mode of an authentication that asks for nothing: none, or one that is not known. It conflicts with any other, as in Cilium. */
  readonly emptyAuth?: string | undefined;
  readonly log?: string | undefined;
  /** The rule names this entity, which means more than its peers (SEMANTICS C2 and C18). */
  readonly entity?: "dns" | "kube-apiserver" | undefined;
};

/** The level of a rule, of which the lower goes first whatever the actions: tier, priority, and order where it counts. */
export function levelOf({ tier, priority, order }: Pick<Rule, "tier" | "priority" | "order">): number {
  return (tier * 0x10000 + priority) * 0x10000 + order;
}

/** The strength of an action among those of one level: a deny goes before an allow, and both before passing on. */
export function strengthOf(action: RuleAction): number {
  return action === "deny" ? 2 : action === "allow" ? 1 : 0;
}

/** Whether, of traffic that both speak of, one rule decides and the other does not. Two that are equal say the same, or are united. */
export function beats(one: Rule, other: Rule): boolean {
  return levelOf(one) < levelOf(other) || (levelOf(one) === levelOf(other) && strengthOf(one.action) > strengthOf(other.action));
}

/** Something wrong, or worth saying, about a policy; `path` is in JSON notation from the object's root: `spec.ingress[0].fromCIDR[1]`. */
export type Issue = { readonly path: string; readonly message: string; readonly stage: "decode" | "validate" | "portability" | "schema" };

/** A policy object in the engine's form. When `issues` is not empty the policy has no effect: `rules` is empty. */
export type ParsedPolicy = {
  readonly ref: PolicyRef;
  readonly rules: readonly Rule[];
  readonly issues: readonly Issue[];
  readonly warnings: readonly Issue[];
  /** The policy is in audit mode: what it would deny passes, and is reported. */
  readonly audit: boolean;
};

/** On a policy, or on a namespace for all its pods: `enabled` or `disabled`. */
export const auditAnnotation = "policy.cilium.io/audit-mode";

/** On a policy: `restrict` or `union`, in place of the agent's `policy-l7-merge`, whose name it may have, too. The first that a policy has counts. */
export const l7MergeAnnotations = ["policy.cilium.io/l7-merge", "policy-l7-merge"] as const;

/** Whether a namespace's pods, or one pod, are in audit mode by their annotations. A misspelt word counts as `disabled`: a slip must not open what policies close. */
export function scopeAudit(annotations: Readonly<Record<string, unknown>> | undefined): {
  readonly audit: boolean;
  readonly problem?: string;
} {
  const audit = auditModeOf(annotations);
  if (audit !== undefined) return { audit };
  const found = JSON.stringify(annotations?.[auditAnnotation]);
  return {
    audit: false,
    problem: `${auditAnnotation}: found ${found}, allowed are enabled and disabled; taken as disabled: policies are enforced`,
  };
}

/** Whether annotations ask for audit mode; anything but these two words is undefined. */
export function auditModeOf(annotations: Readonly<Record<string, unknown>> | undefined): boolean | undefined {
  const text = annotations?.[auditAnnotation];
  if (text === undefined) return false;
  return text === "enabled" ? true : text === "disabled" ? false : undefined;
}
