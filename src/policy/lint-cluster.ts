import { labelKey } from "#labels/label.ts";
import type { NumericIdentity } from "#types/identity.ts";
import type { Finding } from "./lint.ts";
import { hasL7Rules } from "./lint-static.ts";
import { dnsPeer } from "./peer.ts";
import type { Repository } from "./repository.ts";
import { type EndpointPolicy, resolveEndpoint } from "./resolve.ts";
import { formatRuleRef, type PeerSelector, type PortSpec, type Rule, ruleKey } from "./rule.ts";
import { type SelectorCache, selects } from "./selector-cache.ts";
import { verdict } from "./verdict.ts";

/** A pod's identity with what applies to it. */
type Pod = { readonly id: NumericIdentity; readonly name: string; readonly rules: readonly Rule[]; readonly policy: EndpointPolicy };

function podsOf(repo: Repository, cache: SelectorCache): Pod[] {
  const pods: Pod[] = [];
  for (const id of cache.identities()) {
    const entry = cache.entry(id);
    const namespace = entry?.labels.get("k8s", labelKey.namespace)?.value;
    const cluster = entry?.labels.get("k8s", labelKey.cluster)?.value;
    if (entry === undefined || namespace === undefined || (cluster !== undefined && cluster !== repo.settings.clusterName)) continue;
    const rules = repo.select(entry.labels, id);
    const subject = { identity: id, labels: entry.labels, namedPorts: entry.namedPorts ?? [] };
    const own = entry.labels.texts.filter((text) => !text.includes("io.cilium.k8s") && !text.includes(labelKey.namespace));
    pods.push({ id, name: `${namespace} [${own.join(",")}]`, rules, policy: resolveEndpoint(repo, cache, subject) });
  }
  return pods;
}

/** What the policies together, on the identities that exist now, show to be probably not meant. */
export function* lintCluster(repo: Repository, cache: SelectorCache): Generator<Finding> {
  const pods = podsOf(repo, cache);
  yield* emptySelectors(repo, cache, pods);
  const seen = new Set<string>();
  for (const pod of pods) {
    for (const finding of [...overlaps(repo, cache, pod), ...dnsFindings(repo, cache, pod, pods), ...oneSided(pod, pods)]) {
      const key = `${finding.id}|${finding.rule === undefined ? "" : ruleKey(finding.rule)}|${finding.message}`;
      if (!seen.has(key)) yield finding;
      seen.add(key);
    }
  }
  for (const pod of pods) pod.policy.release();
}

function identitiesOf(peer: PeerSelector, cache: SelectorCache): NumericIdentity[] {
  return [...cache.identities()].filter((id) => {
    const labels = cache.labels(id);
    return labels !== undefined && selects(peer, labels, cache.prefix(id));
  });
}

function* emptySelectors(repo: Repository, cache: SelectorCache, pods: readonly Pod[]): Generator<Finding> {
  for (const { ref, rules } of repo.policies.values()) {
    const selected = pods.some((pod) => pod.rules.some((rule) => rule.policy === ref));
    if (rules.length > 0 && !selected && !rules.some((rule) => rule.onNode)) {
      yield { id: "L05", severity: "warning", policy: ref, message: "selects no pod that exists now" };
    }
    for (const rule of rules) {
      for (const peer of repo.peersOf(rule)) {
        // Addresses and names have identities only once somebody talks to them.
        if (peer.any || peer.none || peer.within !== undefined || peer.fqdn !== undefined || identitiesOf(peer, cache).length > 0) continue;
        yield emptyPeer(rule, peer, cache);
      }
    }
  }
}

function emptyPeer(rule: Rule, peer: PeerSelector, cache: SelectorCache): Finding {
  const elsewhere = identitiesOf({ ...peer, requirements: peer.requirements.filter((one) => one.key !== labelKey.namespace) }, cache);
  const names = [...new Set(elsewhere.map((id) => cache.labels(id)?.get("k8s", labelKey.namespace)?.value ?? "?"))];
  const at = { policy: rule.policy, rule: rule.origin };
  if (names.length === 0) return { id: "L05", severity: "info", ...at, message: `the peers ${peer.text} are nobody who exists now` };
  const hint = `add "k8s:${labelKey.namespace}: ${names[0]}" to the selector if they are meant`;
  return {
    id: "L06",
    severity: "warning",
    ...at,
    message: `the peers ${peer.text} are nobody, but pods in ${names.join(", ")} have these labels; ${hint}`,
  };
}

function specCovers(outer: PortSpec, inner: PortSpec): boolean {
  if (outer.protocol !== inner.protocol || outer.name !== inner.name) return false;
  const last = (spec: PortSpec) => (spec.port === 0 ? 0xffff : Math.max(spec.port, spec.endPort));
  return outer.port <= inner.port && last(outer) >= last(inner);
}

function portsCover(outer: Rule, inner: Rule): boolean {
  if (outer.ports === null) return true;
  if (inner.ports === null) return false;
  const specs = outer.ports.flatMap((one) => one.ports);
  return inner.ports.every((one) => one.ports.every((spec) => specs.some((other) => specCovers(other, spec))));
}

function peersCover(repo: Repository, cache: SelectorCache, outer: Rule, inner: Rule): boolean {
  const wide = repo.peersOf(outer);
  if (wide.some((peer) => peer.any)) return true;
  return repo
    .peersOf(inner)
    .every((peer) => !peer.any && wide.some((other) => other.text === peer.text || containsAll(other, peer, cache)));
}

function containsAll(outer: PeerSelector, inner: PeerSelector, cache: SelectorCache): boolean {
  const ids = identitiesOf(inner, cache);
  if (ids.length === 0 || inner.within !== undefined || inner.fqdn !== undefined) return false;
  return ids.every((id) => {
    const labels = cache.labels(id);
    return labels !== undefined && selects(outer, labels, cache.prefix(id));
  });
}

/** Pairs of rules of one pod of which one makes the other moot. */
function* overlaps(repo: Repository, cache: SelectorCache, pod: Pod): Generator<Finding> {
  for (const inner of pod.rules) {
    if (inner.action !== "allow" || repo.peersOf(inner).length === 0) continue;
    for (const outer of pod.rules) {
      if (outer === inner || outer.direction !== inner.direction || outer.tier !== inner.tier) continue;
      if (repo.peersOf(outer).length === 0 || !portsCover(outer, inner) || !peersCover(repo, cache, outer, inner)) continue;
      const finding = overlap(outer, inner, repo);
      if (finding !== undefined) yield finding;
    }
  }
}

function overlap(outer: Rule, inner: Rule, repo: Repository): Finding | undefined {
  const at = { policy: inner.policy, rule: inner.origin };
  const other = formatRuleRef(outer.origin);
  if (outer.action === "deny") return { id: "L09", severity: "warning", ...at, message: `never has an effect: ${other} denies all of it` };
  if (outer.action !== "allow" || hasL7Rules(outer)) return undefined;
  if (hasL7Rules(inner)) {
    if (repo.settings.l7Merge === "restrict") return undefined;
    return {
      id: "L08",
      severity: "warning",
      ...at,
      message: `its application rules are moot: ${other} allows the same peers the same ports without any`,
    };
  }
  return { id: "L10", severity: "info", ...at, message: `adds nothing to ${other}` };
}

const dnsFlow = { protocol: 17, port: 53 } as const;

function* dnsFindings(repo: Repository, cache: SelectorCache, pod: Pod, pods: readonly Pod[]): Generator<Finding> {
  const servers = identitiesOf(dnsPeer(repo.settings), cache);
  const [server] = servers;
  if (server === undefined) return;
  const [egressBy] = pod.policy.egress.defaultDenyBy;
  const asks = servers.some((identity) => verdict(pod.policy, { direction: "egress", identity, ...dnsFlow }).verdict !== "denied");
  if (egressBy !== undefined && !asks) {
    yield {
      id: "L13",
      severity: "warning",
      policy: egressBy,
      message: `cuts ${pod.name} off from DNS: no rule allows egress to the cluster's DNS on 53/UDP`,
    };
  }
  const [ingressBy] = pod.policy.ingress.defaultDenyBy;
  if (!servers.includes(pod.id) || ingressBy === undefined) return;
  const client = pods.find((one) => verdict(pod.policy, { direction: "ingress", identity: one.id, ...dnsFlow }).verdict === "denied");
  if (client !== undefined) {
    yield {
      id: "L14",
      severity: "error",
      policy: ingressBy,
      message: `selects the cluster's DNS pods and cuts off clients such as ${client.name}`,
    };
  }
}

/** Ports on which a rule can be tried: the first of each range; any port where it names none. */
function samplesOf(rule: Rule): { readonly protocol: number; readonly port: number }[] {
  if (rule.ports === null) return [{ protocol: 6, port: 1 }];
  return rule.ports.flatMap((one) =>
    one.ports.filter((spec) => spec.name === "").map(({ protocol, port }) => ({ protocol, port: Math.max(port, 1) })),
  );
}

/** Ingress that a rule allows for a pod that may not send it: both sides have to allow. */
function* oneSided(pod: Pod, pods: readonly Pod[]): Generator<Finding> {
  for (const rule of pod.rules) {
    if (rule.direction !== "ingress" || rule.action !== "allow" || rule.peers.some((peer) => peer.any)) continue;
    for (const { protocol, port } of samplesOf(rule).slice(0, 2)) {
      const sender = pods.find(
        (one) =>
          one.policy.egress.defaultDeny &&
          rule.peers.some((peer) => selects(peer, one.policy.subject.labels, undefined)) &&
          verdict(one.policy, { direction: "egress", identity: pod.id, protocol, port }).verdict === "denied",
      );
      if (sender === undefined) continue;
      const by = sender.policy.egress.defaultDenyBy[0]?.name ?? "a policy";
      const message = `lets ${sender.name} in, but the egress of that pod is under default deny (${by}) and no rule allows it: both sides must`;
      yield { id: "L19", severity: "warning", policy: rule.policy, rule: rule.origin, message };
    }
  }
}
