import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { reservedName } from "#identity/reserved.ts";
import { labelKey } from "#labels/label.ts";
import type { LabelSet } from "#labels/label-set.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { parsePolicy } from "../parse/parse.ts";
import type { Repository } from "../resolve/repository.ts";
import { type EndpointPolicy, resolveEndpoint, type Subject } from "../resolve/resolve.ts";
import { type Flow, verdict } from "../resolve/verdict.ts";
import type { SelectorCache } from "../selectors/selector-cache.ts";
import { policyFor, type Surroundings } from "./additive.ts";
import type { Connection } from "./connection.ts";
import type { Party } from "./party.ts";

/**
 * A policy that would allow traffic which an endpoint denies by default, for who has an agent's repository and cache and no world. It is tried before
 * it is given; undefined when it would not help, as against a rule that denies. `name`: by which the endpoint knows an address outside; a rule for it opens that
 * address alone.
 */
export function patchFor(repo: Repository, cache: SelectorCache, subject: Subject, flow: Flow, name?: string): object | undefined {
  const [own, peer] = [partyOf(cache, subject.identity, subject), named(partyOf(cache, flow.identity), name)];
  if (own === undefined || peer === undefined) return undefined;
  const [from, to] = flow.direction === "ingress" ? [peer, own] : [own, peer];
  const connection: Connection = { from, to, protocol: flow.protocol, port: flow.port };
  const object = policyFor(surroundings(repo, cache), connection, flow.direction, "allow");
  if (object === undefined) return undefined;
  const parsed = parsePolicy(object, repo.settings);
  if (parsed.issues.length > 0) return undefined;
  const policy = resolveEndpoint(repo.with(parsed), cache, subject);
  const helps = name !== undefined || passes(policy, flow);
  policy.release();
  return helps ? object : undefined;
}

/** Whether a rule for a name lets the endpoint do this, as long as it is the time of the name. */
export function isAllowedByName(policy: EndpointPolicy, cache: SelectorCache, flow: Flow, name: string): boolean {
  const isFor = (pattern: string) =>
    fqdnMatcher(pattern.includes("*") ? { matchPattern: pattern } : { matchName: pattern })(normalizeName(name));
  return [...cache.identities()].some((identity) => {
    const selector = nameOf(cache.labels(identity));
    return selector !== undefined && isFor(selector) && passes(policy, { ...flow, identity });
  });
}

function passes(policy: EndpointPolicy, flow: Flow): boolean {
  const { verdict: outcome } = verdict(policy, flow);
  return outcome === "allowed" || outcome === "redirected";
}

/** An address outside by the name that it has for the endpoint. */
function named(peer: Party | undefined, name: string | undefined): Party | undefined {
  if (name === undefined || peer?.kind !== "outside" || peer.name !== undefined) return peer;
  return { kind: "outside", title: name, identity: peer.identity, name };
}

function surroundings(repo: Repository, cache: SelectorCache): Surroundings {
  const labelsOf = (id: NumericIdentity) => cache.labels(id);
  return {
    repo,
    hasPolicy: (key) => repo.policies.has(key),
    othersIn(namespace, { subject }) {
      const others = [...cache.identities()].filter((id) => id !== subject.identity).map(labelsOf);
      return others.filter((labels) => labels !== undefined).filter((labels) => namespaceOf(labels) === namespace);
    },
  };
}

const namespaceOf = (labels: LabelSet) => labels.get("k8s", labelKey.namespace)?.value;

/** The selector of names that an identity stands for. */
const nameOf = (labels: LabelSet | undefined) => labels?.labels.find(({ source }) => source === "fqdn")?.key;

/** Who an identity is, as far as its labels tell. */
function partyOf(cache: SelectorCache, identity: NumericIdentity, subject?: Subject): Party | undefined {
  const labels = subject?.labels ?? cache.labels(identity);
  if (labels === undefined) return undefined;
  const name = nameOf(labels);
  const title = name ?? labels.get("k8s", "app")?.value ?? reservedName(identity) ?? String(identity);
  if (namespaceOf(labels) !== undefined)
    return { kind: "pod", title, subject: subject ?? { identity, labels, namedPorts: [] }, pods: [], node: "" };
  // A pattern stands for many names: which one was looked up is not known here.
  if (name !== undefined) return name.includes("*") ? undefined : { kind: "outside", title, identity, name };
  if (identity === reservedIdentity.host) return { kind: "node", title, node: undefined, identity };
  return { kind: "outside", title, identity, prefix: cache.prefix(identity) };
}
