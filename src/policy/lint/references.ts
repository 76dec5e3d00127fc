import { labelKey, labelSource } from "#labels/label.ts";
import { didYouMean } from "../parse/reading.ts";
import { serviceMatches } from "../resolve/repository.ts";
import type { PeerSelector, ServiceReference } from "../rule.ts";
import { identityOf } from "../world/objects.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { knowsAll, type Reason } from "./namespaces.ts";
import { identitiesOf } from "./subjects.ts";

/** Services and groups of address blocks that policies name and that do not exist. */
export function* lintReferences(world: World): Generator<Finding> {
  for (const { policy, origin, services, peers } of world.policies.flatMap(({ parsed }) => parsed.rules)) {
    const missing = [...services.map((one) => missingService(world, one)), ...peers.map((one) => missingGroup(world, one))];
    for (const reason of missing) if (reason !== undefined) yield { policy, rule: origin, ...reason };
  }
}

function missingService(world: World, reference: ServiceReference): Reason | undefined {
  if (!knowsAll(world, "Service") || world.services.some(({ view }) => serviceMatches(reference, view))) return undefined;
  const { namespace, name, selector } = reference;
  if (name === "") {
    const message = "toServices without a serviceName selects nobody";
    return { id: "L05", severity: "warning", message, fix: "name the service, or select services with k8sServiceSelector" };
  }
  const where = namespace === "" ? "in any namespace" : `in ${namespace}`;
  if (name === undefined) {
    const message = `toServices selects nobody: no service ${where} has ${selector?.text ?? "these labels"}`;
    return { id: "L05", severity: "warning", message, fix: "compare the selector with `kubectl get services -A --show-labels`" };
  }
  const message = `toServices selects nobody: there is no service "${name}" ${where}`;
  const other = world.services.find((one) => one.name === name);
  if (other !== undefined)
    return {
      id: "L06",
      severity: "warning",
      message: `${message}, but one in ${other.namespace}`,
      fix: `write namespace: ${other.namespace}`,
    };
  const near = didYouMean(
    name,
    world.services.filter((one) => namespace === "" || one.namespace === namespace).map((one) => one.name),
  );
  return {
    id: near === "" ? "L05" : "L16",
    severity: "warning",
    message: `${message}${near}`,
    fix: "correct the name, or create the service",
  };
}

function missingGroup(world: World, peer: PeerSelector): Reason | undefined {
  const ofGroup = peer.requirements.filter(({ source }) => source === labelSource.cidrGroup);
  const [first] = ofGroup;
  if (first === undefined || identitiesOf(peer, world).size > 0) return undefined;
  const groups = world.objects.map(({ object }) => identityOf(object)).filter(({ kind }) => kind === "CiliumCIDRGroup");
  const severity = knowsAll(world, "CiliumCIDRGroup") ? "warning" : "info";
  const fix = "create the CiliumCIDRGroup, or correct the reference";
  const named = first.key.startsWith(`${labelKey.cidrGroupName}/`);
  if (!named) return { id: "L05", severity, message: "the peers are nobody: no CiliumCIDRGroup with blocks has these labels", fix };
  const name = first.key.slice(labelKey.cidrGroupName.length + 1);
  if (groups.some((one) => one.name === name))
    return {
      id: "L05",
      severity,
      message: `the peers are nobody: CiliumCIDRGroup "${name}" has no blocks`,
      fix: "add blocks to spec.externalCIDRs",
    };
  const near = didYouMean(
    name,
    groups.map((one) => one.name),
  );
  const message = `the peers are nobody: there is no CiliumCIDRGroup "${name}"${near}`;
  return near === "" ? { id: "L05", severity, message, fix } : { id: "L16", severity: "warning", message, fix: "correct the name" };
}
