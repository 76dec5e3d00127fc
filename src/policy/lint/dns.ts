import { dnsPeer } from "../peer.ts";
import type { ParsedPolicy, PortSpec } from "../rule.ts";
import { verdict } from "../verdict.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { identitiesOf, type Pods } from "./subjects.ts";

const dnsFlow = { protocol: 17, port: 53 } as const;

/** Pods that cannot ask DNS, DNS pods that cannot be asked, and names whose addresses nobody learns. */
export function* lintDns(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of world.policies) yield* namesWithoutDns(parsed, pods);
  const servers = identitiesOf(dnsPeer(world.settings), world);
  const cut = new Set<string>();
  for (const pod of pods) {
    if (servers.includes(pod.id)) {
      yield* cutServer(pod, pods);
      continue;
    }
    const [policy] = pod.policy.egress.defaultDenyBy;
    // Without DNS pods to look at, what the rules say about the port has to do.
    const asks = servers.length === 0 ? pod.rules.some(allowsDns) : servers.some((identity) => passes(pod, "egress", identity));
    if (policy !== undefined && !asks && !cut.has(policy.name)) {
      cut.add(policy.name);
      const message = `cuts ${pod.name} off from DNS: no rule allows egress to the cluster's DNS on 53/UDP`;
      yield {
        id: "L13",
        severity: "warning",
        policy,
        message,
        fix: "allow egress to k8s-app=kube-dns in kube-system on 53/UDP and 53/TCP",
      };
    }
  }
}

const allowsDns = (rule: Pods["rules"][number]) =>
  rule.direction === "egress" &&
  rule.action === "allow" &&
  rule.peers.length > 0 &&
  (rule.ports === null || rule.ports.some((one) => one.ports.some(isDns)));

function passes(pod: Pods, direction: "ingress" | "egress", identity: Pods["id"]): boolean {
  return verdict(pod.policy, { direction, identity, ...dnsFlow }).verdict !== "denied";
}

function* cutServer(server: Pods, pods: readonly Pods[]): Generator<Finding> {
  const [policy] = server.policy.ingress.defaultDenyBy;
  const client = policy === undefined ? undefined : pods.find((one) => !passes(server, "ingress", one.id));
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

function* namesWithoutDns({ ref, rules }: ParsedPolicy, pods: readonly Pods[]): Generator<Finding> {
  const named = rules.find((rule) => rule.peers.some((peer) => peer.fqdn !== undefined));
  if (named === undefined) return;
  // Another policy of the same pods may have the rule.
  const selected = pods.filter((pod) => pod.rules.some((rule) => rule.policy === ref));
  const own = selected.length === 0 ? [rules] : selected.map((pod) => pod.rules);
  const learns = own.every((all) => all.some((rule) => rule.ports?.some((one) => (one.l7?.dns.length ?? 0) > 0)));
  if (learns) return;
  const reaches = own.every((all) =>
    all.some((rule) => rule.direction === "egress" && rule.ports?.some((one) => one.ports.some(isDns)) === true),
  );
  const message = reaches
    ? "toFQDNs without a DNS rule (rules.dns): answers are learned in passing here, but Cilium learns none"
    : "toFQDNs, and no rule lets the pods ask DNS: no name will ever be known";
  const fix = 'give the rule for port 53 to the cluster\'s DNS `rules: { dns: [{ matchPattern: "*" }] }`';
  yield { id: "L02", severity: "warning", policy: ref, rule: named.origin, message, fix };
}
