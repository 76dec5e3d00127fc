import { reservedLabels } from "#identity/reserved.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { type NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { verdict } from "../resolve/verdict.ts";
import { policyKey } from "../rule.ts";
import { worldIdentity } from "../world/outside.ts";
import { createWorld, type World, type WorldNode } from "../world/world.ts";
import type { Finding } from "./finding.ts";

type Need = { readonly port: number; readonly from: NumericIdentity; readonly what: string; readonly fix: string };

/** Host policies after which nobody gets in any more to put them right. Judged as if the host firewall were on. */
export function* lintHosts(world: World): Generator<Finding> {
  if (!world.policies.some(({ parsed }) => parsed.rules.some((rule) => rule.onNode))) return;
  const guarded = world.settings.hostFirewall ? world : createWorld(world.objects, { ...world.settings, hostFirewall: true });
  const labels = labelSetOf(reservedLabels(reservedIdentity.host)?.labels ?? []);
  const unnamed: WorldNode = { name: "", labels, addresses: [], podCidrs: [], isApiServer: true };
  const seen = new Set<string>();
  for (const node of world.nodes.length > 0 ? world.nodes : [unnamed]) {
    for (const finding of lockedOut(world, guarded, node)) {
      const key = `${finding.policy.name} ${finding.fix}`;
      if (!seen.has(key)) yield finding;
      seen.add(key);
    }
  }
}

function* lockedOut(world: World, guarded: World, node: WorldNode): Generator<Finding> {
  const policy = guarded.policyOf({ identity: reservedIdentity.host, labels: node.labels, namedPorts: [] });
  const where = node.name === "" ? "the nodes" : `node ${node.name}`;
  const when = world.settings.hostFirewall ? "" : " once the host firewall is on";
  for (const { port, from, what, fix } of needsOf(world, node)) {
    const { verdict: outcome, entry } = verdict(policy, { direction: "ingress", identity: from, protocol: 6, port });
    const ref = entry?.origins[0] ?? policy.ingress.defaultDenyBy[0];
    const by = ref && world.policy(policyKey(ref));
    if (outcome !== "denied" || by === undefined) continue;
    const message = `locks ${what} out of ${where}${when}: nothing allows ${port}/TCP`;
    yield { id: "L20", severity: "error", policy: by.parsed.ref, message, fix };
  }
}

function needsOf(world: World, { isApiServer }: WorldNode): Need[] {
  const outside = worldIdentity(world);
  const needs: Need[] = [
    { port: 22, from: outside, what: "SSH", fix: "allow 22/TCP from where you log in, by `fromCIDR`" },
    {
      port: 10250,
      from: reservedIdentity.remoteNode,
      what: "the API server's way to the kubelet",
      fix: "allow 10250/TCP from the entities remote-node and kube-apiserver",
    },
  ];
  if (isApiServer)
    needs.push({
      port: 6443,
      from: reservedIdentity.remoteNode,
      what: "the other nodes' way to the API server",
      fix: "allow 6443/TCP from the entities cluster and world",
    });
  return needs;
}
