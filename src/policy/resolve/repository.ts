import type { FqdnSelector } from "#fqdn/pattern.ts";
import { fqdnLabelKey } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { matches, type Requirement, requirement, requirementsOf, selectorOf } from "#labels/selector.ts";
import { parseAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix, type Prefix } from "#types/prefix.ts";
import {
  byOrigin,
  type ParsedPolicy,
  type PeerSelector,
  type PortRule,
  type PortSpec,
  policyKey,
  type Rule,
  type ServiceReference,
} from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import { defaultSettings, type PolicySettings } from "../settings.ts";
import { cidrPeer, dnsPeer, entityPeers, labelPeer } from "./peer.ts";
import { candidateRules, changeSubjects, emptySubjects, type SubjectIndex } from "./subject-index.ts";

/** A service as `toServices` sees it: pods by its selector, or the addresses of one without. */
export type ServiceView = {
  readonly namespace: string;
  readonly name: string;
  readonly labels: LabelSet;
  readonly selector?: Readonly<Record<string, string>> | undefined;
  readonly endpoints?: readonly string[] | undefined;
  /** Needed of `default/kubernetes` only. */
  readonly ports?: readonly { readonly protocol: number; readonly port: number; readonly targetPort: number }[] | undefined;
};

/** All policies of the cluster. Persistent: every change gives a new repository with the next revision, and the old one stays valid. */
export type Repository = {
  readonly revision: number;
  readonly settings: PolicySettings;
  readonly policies: ReadonlyMap<string, ParsedPolicy>;
  readonly services: readonly ServiceView[];
  /** Adds policies; one with a known key replaces it. */
  with(...parsed: readonly ParsedPolicy[]): Repository;
  /** Removes policies by `policyKey`. */
  without(...keys: readonly string[]): Repository;
  /** Replaces the services that `toServices` may find. */
  withServices(services: readonly ServiceView[]): Repository;
  withSettings(settings: PolicySettings): Repository;
  /** Without the policies in audit mode: what is enforced. The same repository when there are none. */
  enforced(): Repository;
  /** The rules that select an endpoint with these labels, policy by policy. */
  select(labels: LabelSet, identity: NumericIdentity): readonly Rule[];
  /** Whether an endpoint's policy may be another one because this policy came, went or changed. */
  concerns(policy: ParsedPolicy, labels: LabelSet, identity: NumericIdentity): boolean;
  /** The peers of a rule, with the services that it names resolved. */
  peersOf(rule: Rule): readonly PeerSelector[];
  /** The ports of a rule; one for `kube-apiserver` covers the API server's own ports too. */
  portsOf(rule: Rule): readonly PortRule[] | null;
  /** Whether a rule depends on `services`. */
  usesServices(): boolean;
  /** Every address block for which an identity is needed, exceptions included. */
  prefixes(): Prefix[];
  /** Every selector of names in `toFQDNs`. */
  fqdns(): FqdnSelector[];
};

/** An empty repository. */
export function createRepository(settings: PolicySettings = defaultSettings): Repository {
  return build({ revision: 1, settings, policies: new Map(), services: [], subjects: emptySubjects });
}

function resolveService(reference: ServiceReference, service: ServiceView, settings: PolicySettings): PeerSelector[] {
  if (service.selector !== undefined && Object.keys(service.selector).length > 0) {
    const requirements: Requirement[] = [
      ...requirementsOf({ matchLabels: Object.fromEntries(Object.entries(service.selector).map(([key, value]) => [`k8s:${key}`, value])) }),
      requirement(`k8s:${labelKey.namespace}`, "In", [service.namespace]),
      requirement(`k8s:${labelKey.cluster}`, "In", [settings.clusterName]),
    ];
    return [labelPeer(requirements)];
  }
  return (service.endpoints ?? []).flatMap((text) => {
    const address = parseAddress(text);
    return address === undefined || reference === undefined ? [] : [cidrPeer(hostPrefix(address), [], settings)];
  });
}

/** The target ports of a service's ports that a spec names: policy applies after translation, but authors think of the service (C18). */
function targetSpecs(spec: PortSpec, ports: NonNullable<ServiceView["ports"]>): PortSpec[] {
  if (spec.name !== "" || spec.port === 0) return [];
  const named = ports.filter(
    ({ protocol, port }) => protocol === spec.protocol && port >= spec.port && port <= Math.max(spec.port, spec.endPort),
  );
  return named.map(({ targetPort }) => ({ protocol: spec.protocol, name: "", port: targetPort, endPort: 0 }));
}

/** Whether a service is one that `toServices` names. */
export function serviceMatches(reference: ServiceReference, service: ServiceView): boolean {
  if (reference.namespace !== "" && service.namespace !== reference.namespace) return false;
  if (reference.name !== undefined) return service.name === reference.name;
  return reference.selector !== undefined && matches(selectorOf(reference.selector.requirements), service.labels);
}

/** A rule that lets its subjects use the cluster's DNS pods: these then accept it. */
function usesDns(rule: Rule): boolean {
  return rule.entity === "dns" && rule.direction === "egress" && rule.action === "allow" && !rule.onNode;
}

type State = Pick<Repository, "revision" | "settings" | "policies" | "services"> & { readonly subjects: SubjectIndex };

function build(state: State): Repository {
  const { settings, policies, services, subjects } = state;
  const next = (changes: Partial<State>) => build({ ...state, revision: state.revision + 1, ...changes });
  const dnsPods = dnsPeer(settings);
  let enforced: Repository | undefined;

  function selecting(rules: readonly Rule[], labels: LabelSet, identity: NumericIdentity): Rule[] {
    const isHost = identity === reservedIdentity.host;
    if (isHost && !settings.hostFirewall) return [];
    return rules.filter((rule) => rule.onNode === isHost && matches(rule.subject, labels));
  }

  /** What the DNS pods may reach by the entity: the resolvers upstream of them as well. */
  function withResolvers(rule: Rule): Rule {
    if (rule.entity !== "dns" || rule.direction !== "egress" || rule.action !== "allow") return rule;
    return { ...rule, peers: [...rule.peers, ...["world", "host", "remote-node"].flatMap((name) => entityPeers(name, settings))] };
  }

  /** DNS pods that something isolates accept DNS from the endpoints that may use it. */
  function clientRules(own: readonly Rule[]): Rule[] {
    if (!own.some((rule) => rule.direction === "ingress" && rule.defaultDeny)) return [];
    const clients = [...policies.values()].flatMap(({ rules }) => rules.filter(usesDns));
    return clients.map((rule) => ({
      ...rule,
      direction: "ingress",
      defaultDeny: false,
      peers: [labelPeer(rule.subject.requirements)],
      ports: rule.ports?.map(({ ports }) => ({ ports, serverNames: [] })) ?? null,
    }));
  }

  function peersOf(rule: Rule): readonly PeerSelector[] {
    if (rule.services.length === 0) return rule.peers;
    const resolved = rule.services.flatMap((reference) =>
      services.filter((one) => serviceMatches(reference, one)).flatMap((one) => resolveService(reference, one, settings)),
    );
    return [...rule.peers, ...resolved];
  }

  function portsOf(rule: Rule): readonly PortRule[] | null {
    if (rule.ports === null || rule.entity !== "kube-apiserver" || rule.direction !== "egress" || !settings.extensions) return rule.ports;
    const apiserver = services.find((one) => one.namespace === "default" && one.name === "kubernetes")?.ports ?? [];
    return rule.ports.map((one) => ({ ...one, ports: [...one.ports, ...one.ports.flatMap((spec) => targetSpecs(spec, apiserver))] }));
  }

  function* allPeers(): Generator<PeerSelector> {
    for (const { rules } of policies.values()) for (const rule of rules) yield* peersOf(rule);
  }

  return {
    revision: state.revision,
    settings,
    policies,
    services,
    with(...parsed) {
      const all = new Map(policies);
      const replaced = parsed.flatMap((one) => all.get(policyKey(one.ref)) ?? []);
      for (const one of parsed) all.set(policyKey(one.ref), one);
      const added = new Set(parsed.map((one) => all.get(policyKey(one.ref)) ?? one));
      return next({ policies: all, subjects: changeSubjects(subjects, replaced, [...added]) });
    },
    without(...keys) {
      const all = new Map(policies);
      const removed = keys.flatMap((key) => all.get(key) ?? []);
      for (const key of keys) all.delete(key);
      return next({ policies: all, subjects: changeSubjects(subjects, removed, []) });
    },
    withServices: (views) => next({ services: views }),
    withSettings: (other) => next({ settings: other }),
    enforced() {
      if (enforced !== undefined) return enforced;
      const audited = [...policies.values()].filter(({ audit }) => audit);
      const kept = () => new Map([...policies].filter(([, { audit }]) => !audit));
      enforced = audited.length === 0 ? this : build({ ...state, policies: kept(), subjects: changeSubjects(subjects, audited, []) });
      return enforced;
    },
    select: (labels, identity) => {
      const rules = selecting(candidateRules(subjects, labels), labels, identity);
      const all = selects(dnsPods, labels, undefined) ? [...rules.map(withResolvers), ...clientRules(rules)] : rules;
      // In the order of their names, so that the order in which policies arrived can not matter.
      return all.sort(byOrigin);
    },
    concerns: ({ rules }, labels, identity) =>
      selecting(rules, labels, identity).length > 0 || (rules.some(usesDns) && selects(dnsPods, labels, undefined)),
    peersOf,
    portsOf,
    usesServices() {
      for (const { rules } of policies.values()) {
        if (rules.some((rule) => rule.services.length > 0 || (rule.entity === "kube-apiserver" && rule.ports !== null))) return true;
      }
      return false;
    },
    prefixes() {
      const found = new Set<Prefix>();
      for (const peer of allPeers()) {
        if (peer.within !== undefined) found.add(peer.within);
        for (const one of peer.except) found.add(one);
      }
      return [...found];
    },
    fqdns() {
      const found = new Map<string, FqdnSelector>();
      for (const peer of allPeers()) if (peer.fqdn !== undefined) found.set(fqdnLabelKey(peer.fqdn), peer.fqdn);
      return [...found.values()];
    },
  };
}
