import { type CidrGroup, cidrLabels, labelledPrefixes } from "#identity/cidr.ts";
import { createCidrAllocator } from "#identity/local.ts";
import { chooseIdentity } from "#identity/probe.ts";
import { label, labelSource } from "#labels/label.ts";
import { type LabelSet, labelSetFromRecord, labelSetOf } from "#labels/label-set.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { hostPrefix, parsePrefix } from "#types/prefix.ts";
import { listOf, objectOf, textOf, textsOf } from "../parse/fields.ts";
import { parsePolicy, policyKinds } from "../parse/parse.ts";
import { createRepository, type Repository } from "../resolve/repository.ts";
import { applyIdentityChanges, type EndpointPolicy, resolveEndpoint, type Subject, subjectKey } from "../resolve/resolve.ts";
import { type ParsedPolicy, policyKey, type RuleRef } from "../rule.ts";
import { createSelectorCache, type NamedPort, type SelectorCache } from "../selectors/selector-cache.ts";
import type { PolicySettings } from "../settings.ts";
import { flattened, formatPlace, identityOf, latestOf, rulePath, type SourcedObject } from "./objects.ts";
import { servicesOf, type WorldService } from "./services.ts";
import { configOf } from "./settings.ts";
import { labelsOfPod, type PodView, podsOf } from "./workload.ts";

/** A policy, what it means, and where it stands. */
export type WorldPolicy = { readonly key: string; readonly parsed: ParsedPolicy; readonly from: SourcedObject };

/** A pod (or the pod of a template) with the identity that the agent gives it. */
export type WorldEndpoint = PodView & { readonly identityLabels: LabelSet; readonly identity: NumericIdentity };

/** A node; `labels` are those of its host endpoint. */
export type WorldNode = {
  readonly name: string;
  readonly labels: LabelSet;
  readonly addresses: readonly IpAddress[];
  readonly podCidrs: readonly string[];
  readonly isApiServer: boolean;
};

/**
 * Everything that policies decide about, at one moment: from files, from a cluster, or from both. The engine and the identities are the agent's.
 * Only `identityFor` adds to it, and what it adds changes nothing that was known before.
 */
export interface World {
  /** What it was made of, Lists taken apart. */
  readonly objects: readonly SourcedObject[];
  readonly settings: PolicySettings;
  /** All policies, those too that are refused and have no effect. */
  readonly policies: readonly WorldPolicy[];
  /** Pods but those of the host network, which are their node's. */
  readonly endpoints: readonly WorldEndpoint[];
  readonly hostPods: readonly PodView[];
  /** Labels of namespaces. */
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly services: readonly WorldService[];
  readonly nodes: readonly WorldNode[];
  readonly repo: Repository;
  readonly cache: SelectorCache;
  /** The resolved policy of a subject; made once. */
  policyOf(subject: Subject): EndpointPolicy;
  /** What it would be if no policy were in audit mode. */
  unauditedPolicyOf(subject: Subject): EndpointPolicy;
  /** The identity of these labels (a pod's, a block's, a name's); made when there is none yet. */
  identityFor(labels: LabelSet): NumericIdentity;
  /** `file:line:column` of a rule, or `cluster`; undefined when the policy is none of this world's. */
  placeOf(rule: RuleRef): string | undefined;
  policy(key: string): WorldPolicy | undefined;
}

/** Puts a world together; of two objects with the same kind and name the later one stands. Never throws: what is no object it knows is left out, and policies in error say so in `parsed.issues`. */
export function createWorld(sources: readonly SourcedObject[], changes: Partial<PolicySettings> = {}): World {
  const objects = latestOf(sources.flatMap(flattened));
  const config = configOf(objects);
  const settings = { ...config.settings, ...changes };
  const policies = policiesOf(objects, settings);
  const services = servicesOf(objects);
  const repo = createRepository(settings)
    .with(...policies.values().map(({ parsed }) => parsed))
    .withServices(services.map(({ view }) => view));
  const identities = createWorldIdentities(objects);
  const namespaces = new Map(ofKind(objects, "Namespace").map(({ object }) => [identityOf(object).name, identityOf(object).labels]));
  const pods = podsOf(objects);
  const endpoints = pods
    .filter(({ hostNetwork }) => !hostNetwork)
    .map((pod): WorldEndpoint => {
      const identityLabels = labelsOfPod(pod, namespaces, { cluster: settings.clusterName, filter: config.filter });
      return { ...pod, identityLabels, identity: identities.idOf(identityLabels) };
    });
  const apiServers = services.find(({ namespace, name }) => namespace === "default" && name === "kubernetes")?.view.endpoints ?? [];
  const nodes = nodesOf(objects, apiServers);
  const outside = apiServers.filter((text) => !nodes.some(({ addresses }) => addresses.some((one) => one === text)));
  const cache = identities.cache;
  cache.update({ add: namedEntries(endpoints) });
  for (const [prefix, extra] of labelledPrefixes(repo.prefixes(), groupsOf(objects), outside.flatMap(hostPrefixes)))
    identities.idOf(cidrLabels(prefix, settings, extra));
  const resolved = createPolicies(repo.enforced(), cache);
  const unaudited = repo.enforced() === repo ? resolved : createPolicies(repo, cache);
  return {
    objects,
    settings,
    policies: [...policies.values()],
    endpoints,
    hostPods: pods.filter(({ hostNetwork }) => hostNetwork),
    namespaces,
    services,
    nodes,
    repo,
    cache,
    policyOf: resolved.policyOf,
    unauditedPolicyOf: unaudited.policyOf,
    identityFor(labels) {
      const id = identities.idOf(labels);
      resolved.follow(id);
      if (unaudited !== resolved) unaudited.follow(id);
      return id;
    },
    policy: (key) => policies.get(key),
    placeOf(rule) {
      const policy = policies.get(policyKey(rule));
      return policy && formatPlace(policy.from.source, rulePath(policy.from.object, rule));
    },
  };
}

function ofKind(objects: readonly SourcedObject[], kind: string): SourcedObject[] {
  return objects.filter(({ object }) => identityOf(object).kind === kind);
}

/** By key. A namespace may be left out where it is the default one, so that here, too, the later one stands. */
function policiesOf(objects: readonly SourcedObject[], settings: PolicySettings): Map<string, WorldPolicy> {
  const found = new Map<string, WorldPolicy>();
  for (const from of objects) {
    if (!policyKinds.includes(identityOf(from.object).kind)) continue;
    const parsed = parsePolicy(from.object, settings);
    const key = policyKey(parsed.ref);
    found.set(key, { key, parsed, from });
  }
  return found;
}

function hostPrefixes(text: string) {
  const address = parseAddress(text);
  return address === undefined ? [] : [hostPrefix(address)];
}

function groupsOf(objects: readonly SourcedObject[]): CidrGroup[] {
  return ofKind(objects, "CiliumCIDRGroup").map(({ object }) => {
    const { name, labels } = identityOf(object);
    const texts = listOf(objectOf(objectOf(object).spec).externalCIDRs).map(textOf);
    return { name, labels, prefixes: texts.map(parsePrefix).filter((one) => one !== undefined) };
  });
}

function nodesOf(objects: readonly SourcedObject[], apiServers: readonly string[]): WorldNode[] {
  return ofKind(objects, "Node").map(({ object }) => {
    const { name, labels } = identityOf(object);
    const { spec, status } = objectOf(object);
    const { podCIDR, podCIDRs } = objectOf(spec);
    const texts = listOf(objectOf(status).addresses).map((one) => textOf(objectOf(one).address));
    const addresses = texts.map(parseAddress).filter((one) => one !== undefined);
    return {
      name,
      labels: labelSetOf([label("host", "", labelSource.reserved), ...Object.entries(labels).map(([key, value]) => label(key, value))]),
      addresses,
      podCidrs: [...new Set([textOf(podCIDR), ...listOf(podCIDRs).map(textOf)])].filter((one) => one !== ""),
      isApiServer: addresses.some((one) => apiServers.includes(one)),
    };
  });
}

/** Identities with the named ports of all pods that have them. */
function namedEntries(endpoints: readonly WorldEndpoint[]) {
  const byId = new Map<NumericIdentity, { labels: LabelSet; ports: Map<string, NamedPort> }>();
  for (const { identity, identityLabels, namedPorts } of endpoints) {
    const entry = byId.get(identity) ?? { labels: identityLabels, ports: new Map<string, NamedPort>() };
    for (const one of namedPorts) entry.ports.set(`${one.name}/${one.protocol}/${one.port}`, one);
    byId.set(identity, entry);
  }
  return [...byId].map(([id, { labels, ports }]) => ({ id, labels, namedPorts: [...ports.values()] }));
}

/** Numbers for label sets: those of the cluster's CiliumIdentities where it has one, else as an agent would choose. */
function createWorldIdentities(objects: readonly SourcedObject[]) {
  const cache = createSelectorCache();
  const known = new Map<string, NumericIdentity>();
  for (const id of cache.identities()) known.set(cache.labels(id)?.key ?? "", id);
  const outside = createCidrAllocator();
  const stored = new Map<NumericIdentity, LabelSet>();
  for (const { object } of ofKind(objects, "CiliumIdentity")) {
    const { name } = identityOf(object);
    if (!/^\d{1,9}$/.test(name)) continue;
    const labels = labelSetFromRecord(textsOf(objectOf(object)["security-labels"]));
    stored.set(NumericIdentity(Number(name)), labels);
    known.set(labels.key, NumericIdentity(Number(name)));
  }
  const make = (labels: LabelSet): NumericIdentity => {
    if (!labels.has(labelSource.k8s)) return outside.acquire(labels).id;
    // When all are taken, which no cluster reaches, the labels stand for nobody.
    const id = chooseIdentity(labels, (one) => stored.get(one))?.id ?? reservedIdentity.unmanaged;
    stored.set(id, labels);
    return id;
  };
  return {
    cache,
    idOf(labels: LabelSet): NumericIdentity {
      const id = known.get(labels.key) ?? make(labels);
      known.set(labels.key, id);
      if (cache.labels(id) === undefined) cache.update({ add: [{ id, labels }] });
      return id;
    },
  };
}

/** Resolved policies by subject, kept up to date with identities that come later. */
function createPolicies(repo: Repository, cache: SelectorCache) {
  const made = new Map<string, EndpointPolicy>();
  const seen = new Set(cache.identities());
  return {
    policyOf(subject: Subject): EndpointPolicy {
      // Host endpoints share a number but not their labels.
      const key = `${subjectKey(subject)}|${subject.labels.key}`;
      const policy = made.get(key) ?? resolveEndpoint(repo, cache, subject);
      made.set(key, policy);
      return policy;
    },
    follow(id: NumericIdentity): void {
      if (seen.has(id)) return;
      seen.add(id);
      for (const policy of made.values()) applyIdentityChanges(policy, cache, [{ id, kind: "added" }]);
    },
  };
}
