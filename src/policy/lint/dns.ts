import { fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import { type LabelSet, labelSet } from "#labels/label-set.ts";
import { matches } from "#labels/selector.ts";
import type { Direction } from "#types/direction.ts";
import { dnsPeer } from "../resolve/peer.ts";
import type { EndpointPolicy } from "../resolve/resolve.ts";
import { verdict } from "../resolve/verdict.ts";
import { type ParsedPolicy, type PolicyRef, type PortSpec, policyKey, type Rule } from "../rule.ts";
import { selects } from "../selectors/selector-cache.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { subjectCovers } from "./moot.ts";
import { kept, once } from "./once.ts";
import { servicesOf } from "./services.ts";
import { identitiesOf, type Pods, podsByPolicy, receiversOf } from "./subjects.ts";

const allowDns = "allow egress to k8s-app=kube-dns in kube-system on 53/UDP and 53/TCP";
const dnsFlow = { protocol: 17, port: 53 } as const;

/** Pods that cannot ask DNS, DNS pods that cannot be asked, and names whose addresses nobody learns. */
export function* lintDns(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of world.policies) yield* namesWithoutDns(parsed, pods);
  const dns = dnsIn(world);
  if (pods.length === 0) yield* cutByWords(world, dns);
  const cut = new Set<string>();
  for (const pod of pods) {
    if (dns.servers.includes(pod.id)) {
      yield* cutServer(pod, pods);
      continue;
    }
    yield* namesRefused(world, pod, dns, pods);
    const by = cutBy(world, pod, dns);
    if (by === undefined || cut.has(by.policy.name)) continue;
    cut.add(by.policy.name);
    const message = `cuts ${pod.name} off from DNS: ${by.how} egress to the cluster's DNS on 53/UDP`;
    yield { id: "L13", severity: "warning", policy: by.policy, message, fix: allowDns };
  }
}

/** The DNS of a world, and what policies make of it: asked once for pods of the same policy, the same rules. */
function dnsIn(world: World) {
  const servers = [...identitiesOf(dnsPeer(world.settings), world)];
  const labels = dnsLabels(world);
  const allows = once((rule: Rule) => allowsDns(rule, labels));
  return {
    servers,
    labels,
    allows,
    anyAllows: once((rules: readonly Rule[]) => rules.some(allows)),
    isReached: once((policy: EndpointPolicy) => servers.some((identity) => passes(policy, "egress", identity))),
    asks: once((policy: EndpointPolicy) => asks(policy, servers)),
    asksAnyone: once((policy: EndpointPolicy) => asks(policy, undefined)),
    namesOf: once((receivers: readonly Pods[]) =>
      servicesOf(world)(receivers.filter(({ id }) => !servers.includes(id))).map(
        ({ name, namespace }) => `${name}.${namespace}.svc.cluster.local`,
      ),
    ),
  };
}

type Dns = ReturnType<typeof dnsIn>;

/** Policies after whose default deny no rule for the same pods lets them ask DNS: all that their words show where no pods are known. */
function* cutByWords({ policies }: World, { allows, labels }: Dns): Generator<Finding> {
  const all = policies.flatMap(({ parsed }) => parsed.rules).filter((rule) => !rule.onNode && allows(rule));
  const allowing = new Map(all.map((rule) => [rule.subject.text, rule]));
  const isAllowed = (rule: Rule) => allowing.has(rule.subject.text) || allowing.values().some((one) => subjectCovers(one, rule));
  for (const { parsed } of policies) {
    const closing = parsed.rules.find((rule) => rule.direction === "egress" && rule.defaultDeny && !rule.onNode);
    if (closing === undefined || isForDns(closing, labels) || isAllowed(closing)) continue;
    const message =
      "denies egress by default, and no rule for the same pods allows the cluster's DNS on 53/UDP: they find no service by its name";
    yield { id: "L13", severity: "warning", policy: parsed.ref, rule: closing.origin, message, fix: allowDns };
  }
}

/** The labels of the cluster's DNS pods, as every installer has them. */
function dnsLabels({ settings }: World): LabelSet {
  const { clusterName } = settings;
  const name = `k8s:${labelKey.namespaceLabels}.kubernetes.io/metadata.name=kube-system`;
  return labelSet(["k8s:k8s-app=kube-dns", `k8s:${labelKey.namespace}=kube-system`, `k8s:${labelKey.cluster}=${clusterName}`, name]);
}

/** Whether a policy is there for the DNS pods, which ask others. */
function isForDns({ subject }: Rule, labels: LabelSet): boolean {
  return subject.requirements.some(({ key }) => key === "k8s-app") && matches(subject, labels);
}

/** The policy that keeps a pod from asking DNS, by what it denies or by its default deny. */
function cutBy(
  world: World,
  pod: Pods,
  { servers, anyAllows, isReached }: Dns,
): { readonly policy: PolicyRef; readonly how: string } | undefined {
  const [policy] = pod.policy.egress.defaultDenyBy;
  const byDefault = policy && { policy, how: "no rule allows" };
  // Without DNS pods to look at, what the rules say about the port has to do.
  if (servers.length === 0) return anyAllows(pod.rules) ? undefined : byDefault;
  if (isReached(pod.policy)) return undefined;
  const [denial] = servers.flatMap((identity) => verdict(pod.policy, { direction: "egress", identity, ...dnsFlow }).entry?.origins ?? []);
  const by = denial && world.policy(policyKey(denial))?.parsed.ref;
  return by === undefined ? byDefault : { policy: by, how: "it denies" };
}

/** The names that a policy's DNS rules let its pods ask these servers, or some server; undefined when it has none, and they may ask for any. */
function asks(policy: EndpointPolicy, servers: readonly Pods["id"][] | undefined): ((name: string) => boolean) | undefined {
  const rules = policy
    .l7("egress")
    .filter(({ port, endPort }) => port <= dnsFlow.port && dnsFlow.port <= Math.max(port, endPort))
    .flatMap((one) => one.rules)
    .filter(({ identities }) => identities === null || servers === undefined || servers.some((id) => identities.includes(id)));
  if (rules.length === 0 || rules.some(({ dns }) => dns === null)) return undefined;
  const matchers = rules.flatMap(({ dns }) => dns ?? []).map(fqdnMatcher);
  const known = new Map<string, { readonly may: boolean }>();
  return (name) => kept(known, name, () => ({ may: matchers.some((matches) => matches(normalizeName(name))) })).may;
}

/** Names that a pod needs and that its DNS rules do not let it ask for. */
function* namesRefused(world: World, pod: Pods, dns: Dns, pods: readonly Pods[]): Generator<Finding> {
  const mayAsk = dns.asks(pod.policy);
  if (mayAsk === undefined) return;
  const mayAskAnyone = dns.asksAnyone(pod.policy) ?? (() => true);
  const fix = "name it under rules.dns of the rule for port 53";
  for (const rule of pod.rules) {
    const at = { severity: "warning", policy: rule.policy, rule: rule.origin, fix } as const;
    for (const { fqdn } of rule.peers) {
      // Some name that the pattern takes.
      const name = fqdn?.matchName || fqdn?.matchPattern?.replaceAll(/\*+/g, "x");
      if (name === undefined || mayAskAnyone(name)) continue;
      const message = `${fqdn?.matchName || fqdn?.matchPattern}: the DNS rules of ${pod.name} do not let it ask for that, so no address is ever known`;
      yield { id: "L02", ...at, message };
    }
    if (rule.direction !== "egress" || rule.action !== "allow") continue;
    const names = dns.namesOf(receiversOf(world, rule, pods));
    if (names.length === 0 || names.some(mayAsk)) continue;
    const message = `lets ${pod.name} out to pods whose services it may not ask for: its DNS rules refuse ${names[0]}`;
    yield { id: "L13", ...at, message };
  }
}

/** Whether a rule allows DNS: by its port, whoever the peers are, or by peers that the DNS pods are among. */
function allowsDns({ direction, action, peers, ports }: Rule, labels: LabelSet): boolean {
  if (direction !== "egress" || action !== "allow" || peers.length === 0) return false;
  if (ports?.some((one) => one.ports.some((spec) => spec.port === 53 && isDns(spec))) === true) return true;
  const open = ports === null || ports.some((one) => one.ports.some(isDns));
  return open && peers.some((peer) => peer.any || selects(peer, labels, undefined));
}

function passes(policy: EndpointPolicy, direction: Direction, identity: Pods["id"]): boolean {
  return verdict(policy, { direction, identity, ...dnsFlow }).verdict !== "denied";
}

function* cutServer(server: Pods, pods: readonly Pods[]): Generator<Finding> {
  const [policy] = server.policy.ingress.defaultDenyBy;
  const client = policy === undefined ? undefined : pods.find((one) => !passes(server.policy, "ingress", one.id));
  if (policy === undefined || client === undefined) return;
  const message = `selects the cluster's DNS pods and cuts off clients such as ${client.name}`;
  yield {
    id: "L14",
    severity: "error",
    policy,
    message,
    fix: "leave kube-system out, or allow ingress to the DNS pods on 53/UDP and 53/TCP from the cluster",
  };
}

function isDns({ protocol, port, endPort }: PortSpec): boolean {
  return (protocol === 17 || protocol === 0) && (port === 0 || (port <= 53 && Math.max(port, endPort) >= 53));
}

/** Whether some rule makes a proxy read DNS. */
const learnsNames = once((rules: readonly Rule[]) => rules.some(({ ports }) => ports?.some(({ l7 }) => (l7?.dns.length ?? 0) > 0)));

/** Whether some rule opens the port of DNS. */
const opensDns = once((rules: readonly Rule[]) =>
  rules.some(({ direction, ports }) => direction === "egress" && ports?.some((one) => one.ports.some(isDns))),
);

function* namesWithoutDns({ ref, rules }: ParsedPolicy, pods: readonly Pods[]): Generator<Finding> {
  const named = rules.find((rule) => rule.peers.some((peer) => peer.fqdn !== undefined));
  if (named === undefined) return;
  // Another policy of the same pods may have the rule.
  const selected = podsByPolicy(pods).get(ref) ?? [];
  const own = selected.length === 0 ? [rules] : selected.map((pod) => pod.rules);
  if (own.every(learnsNames)) return;
  const reaches = own.every(opensDns);
  const message = reaches
    ? "toFQDNs without a DNS rule (rules.dns): answers are learned in passing here, but Cilium learns none"
    : "toFQDNs, and no rule lets the pods ask DNS: no name will ever be known";
  const fix = 'give the rule for port 53 to the cluster\'s DNS `rules: { dns: [{ matchPattern: "*" }] }`';
  yield { id: "L02", severity: "warning", policy: ref, rule: named.origin, message, fix };
}
