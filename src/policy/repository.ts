import type { FqdnSelector } from "#fqdn/pattern.ts";
import { fqdnLabelKey } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { matches, type Requirement, requirement, requirementsOf, selectorOf } from "#labels/selector.ts";
import { parseAddress } from "#types/addr.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix, type Prefix } from "#types/prefix.ts";
import { cidrPeer, dnsPeer, entityPeers, labelPeer } from "./peer.ts";
import { type ParsedPolicy, type PeerSelector, type PortRule, type PortSpec, policyKey, type Rule, type ServiceReference } from "./rule.ts";
import { selects } from "./selector-cache.ts";
import { defaultSettings, type PolicySettings } from "./settings.ts";

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
  /** The rules that select an endpoint with these labels. */
  select(labels: LabelSet, identity: NumericIdentity): readonly Rule[];
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
  return build(1, settings, new Map(), []);
}

type Subjects = { readonly byLabel: ReadonlyMap<string, readonly Rule[]>; readonly others: readonly Rule[] };

/** Rules by one label that their subjects must have, so that only few have to be tried. */
function indexSubjects(policies: Iterable<ParsedPolicy>): Subjects {
  const byLabel = new Map<string, Rule[]>();
  const others: Rule[] = [];
  for (const { rules } of policies) {
    for (const rule of rules) {
      const anchor = rule.subject.requirements.find(
        (one) => one.operator === "In" && one.values.length === 1 && one.key !== labelKey.cluster,
      );
      const key = anchor === undefined ? undefined : `${anchor.key}=${anchor.values[0]}`;
      const bucket = key === undefined ? others : byLabel.get(key);
      if (bucket !== undefined) bucket.push(rule);
      else if (key !== undefined) byLabel.set(key, [rule]);
    }
  }
  return { byLabel, others };
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

function serviceMatches(reference: ServiceReference, service: ServiceView): boolean {
  if (reference.namespace !== "" && service.namespace !== reference.namespace) return false;
  if (reference.name !== undefined) return service.name === reference.name;
  return reference.selector !== undefined && matches(selectorOf(reference.selector.requirements), service.labels);
}

function build(
  revision: number,
  settings: PolicySettings,
  policies: ReadonlyMap<string, ParsedPolicy>,
  services: readonly ServiceView[],
): Repository {
  let subjects: Subjects | undefined;
  let enforced: Repository | undefined;

  function select(labels: LabelSet, identity: NumericIdentity): readonly Rule[] {
    subjects ??= indexSubjects(policies.values());
    const isHost = identity === reservedIdentity.host;
    const fits = (rule: Rule) => rule.onNode === isHost && matches(rule.subject, labels);
    if (isHost && !settings.hostFirewall) return [];
    const found = new Set(subjects.others.filter(fits));
    for (const { key, value } of labels.labels) {
      for (const rule of subjects.byLabel.get(`${key}=${value}`) ?? []) if (fits(rule)) found.add(rule);
    }
    return [...found];
  }

  /** What the DNS pods may reach by the entity: the resolvers upstream of them as well. */
  function withResolvers(rule: Rule): Rule {
    if (rule.entity !== "dns" || rule.direction !== "egress" || rule.action !== "allow") return rule;
    return { ...rule, peers: [...rule.peers, ...["world", "host", "remote-node"].flatMap((name) => entityPeers(name, settings))] };
  }

  /** DNS pods that something isolates accept DNS from the endpoints that may use it. */
  function clientRules(own: readonly Rule[]): Rule[] {
    if (!own.some((rule) => rule.direction === "ingress" && rule.defaultDeny)) return [];
    const clients = [...policies.values()].flatMap(({ rules }) =>
      rules.filter((rule) => rule.entity === "dns" && rule.direction === "egress" && rule.action === "allow" && !rule.onNode),
    );
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
    revision,
    settings,
    policies,
    services,
    with(...parsed) {
      const next = new Map(policies);
      for (const one of parsed) next.set(policyKey(one.ref), one);
      return build(revision + 1, settings, next, services);
    },
    without(...keys) {
      const next = new Map(policies);
      for (const key of keys) next.delete(key);
      return build(revision + 1, settings, next, services);
    },
    withServices: (next) => build(revision + 1, settings, policies, next),
    withSettings: (next) => build(revision + 1, next, policies, services),
    enforced() {
      if (enforced !== undefined) return enforced;
      const kept = [...policies].filter(([, { audit }]) => !audit);
      enforced = kept.length === policies.size ? this : build(revision, settings, new Map(kept), services);
      return enforced;
    },
    select: (labels, identity) => {
      const rules = select(labels, identity);
      return selects(dnsPeer(settings), labels, undefined) ? [...rules.map(withResolvers), ...clientRules(rules)] : rules;
    },
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
