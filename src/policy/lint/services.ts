import { label } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { matches, requirement, selectorOf } from "#labels/selector.ts";
import { protocolNumber } from "#types/proto.ts";
import { listOf, objectOf, textOf } from "../parse/fields.ts";
import type { PortSpec, Rule } from "../rule.ts";
import type { ServicePort, WorldService } from "../world/services.ts";
import type { World, WorldEndpoint } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { type Pods, receiversOf } from "./subjects.ts";

/** Ports that a service has but its pods do not, and HTTP rules where the pods speak TLS. */
export function* lintServices(world: World, pods: readonly Pods[]): Generator<Finding> {
  const backends = world.services.map((service) => ({
    service,
    pods: pods.filter((pod) => pod.endpoints.some((one) => isBehind(service, one))),
  }));
  for (const { parsed } of world.policies) {
    for (const rule of parsed.rules) {
      if (rule.action !== "allow" || rule.ports === null) continue;
      const receivers = new Set(receiversOf(world, rule, pods));
      const near = backends.filter((one) => one.pods.some((pod) => receivers.has(pod)));
      yield* servicePorts(
        rule,
        near.map(({ service }) => service),
        [...receivers],
      );
      yield* tlsPorts(
        rule,
        near.map(({ service }) => service),
        [...receivers],
      );
    }
  }
}

/** Whether a pod is one that a service leads to. */
export function isBehind({ view, namespace }: WorldService, pod: WorldEndpoint): boolean {
  const selector = Object.entries(view.selector ?? {});
  if (selector.length === 0 || pod.namespace !== namespace) return false;
  const wanted = selectorOf(selector.map(([key, value]) => requirement(`k8s:${key}`, "In", [value])));
  return matches(wanted, labelSetOf(Object.entries(pod.labels).map(([key, value]) => label(key, value))));
}

const covers = ({ port, endPort }: PortSpec, wanted: number) => port === 0 || (port <= wanted && wanted <= Math.max(port, endPort));

function targetsOf({ target, protocol }: ServicePort, pods: readonly Pods[]): number[] {
  if (typeof target === "number") return [target];
  return pods
    .flatMap((pod) => pod.endpoints.flatMap((one) => one.namedPorts.filter((each) => each.name === target && each.protocol === protocol)))
    .map(({ port }) => port);
}

function* servicePorts(rule: Rule, services: readonly WorldService[], receivers: readonly Pods[]): Generator<Finding> {
  const specs = (rule.ports ?? [])
    .flatMap((one) => one.ports)
    .filter(({ name, protocol }) => name === "" && protocol === protocolNumber.TCP);
  for (const spec of specs) {
    for (const service of services) {
      const port = service.ports.find((one) => one.port === spec.port && one.protocol === spec.protocol);
      const targets = port === undefined ? [] : targetsOf(port, receivers);
      const isTarget = services.some((one) => one.ports.some((each) => targetsOf(each, receivers).includes(spec.port)));
      const [target] = targets;
      if (target === undefined || isTarget || specs.some((one) => targets.some((each) => covers(one, each)))) continue;
      const name = `${service.namespace}/${service.name}`;
      const message = `${spec.port} is the port of service ${name}, but policies apply after translation: the pods listen on ${target}`;
      yield { id: "L03", severity: "warning", policy: rule.policy, rule: rule.origin, message, fix: `write port: "${target}"` };
    }
  }
}

/** A proxy that expects HTTP finds none in TLS. What a port carries is told by its number and by the names that it has. */
function* tlsPorts(rule: Rule, services: readonly WorldService[], receivers: readonly Pods[]): Generator<Finding> {
  for (const { ports, l7, terminatingTls } of rule.ports ?? []) {
    if (l7 === undefined || l7.http.length === 0 || terminatingTls !== undefined) continue;
    for (const spec of ports) {
      const why = tlsSign(spec, services, receivers);
      if (why === undefined) continue;
      const message = `HTTP rules on ${spec.name || spec.port}, which carries TLS (${why}): the proxy would find no HTTP and refuse everything`;
      yield {
        id: "L22",
        severity: "warning",
        policy: rule.policy,
        rule: rule.origin,
        message,
        fix: "allow the port without HTTP rules (serverNames can tell names apart), or terminate TLS with terminatingTLS",
      };
    }
  }
}

function tlsSign(spec: PortSpec, services: readonly WorldService[], receivers: readonly Pods[]): string | undefined {
  if ([443, 6443, 8443].includes(spec.port)) return `port ${spec.port}`;
  if (/^https|tls/.test(spec.name)) return `the port's name is ${spec.name}`;
  const named = receivers
    .flatMap((pod) => pod.endpoints)
    .flatMap((one) => one.namedPorts)
    .find((one) => one.port === spec.port && /^https|tls/.test(one.name));
  if (named !== undefined) return `the pods call it ${named.name}`;
  for (const { ports, from, namespace, name } of services) {
    const index = ports.findIndex((one) => targetsOf(one, receivers).includes(spec.port));
    const port = ports[index];
    const protocol = textOf(objectOf(listOf(objectOf(objectOf(from.object).spec).ports)[index]).appProtocol);
    if (port !== undefined && (port.port === 443 || /^https|tls/.test(port.name) || protocol === "https"))
      return `service ${namespace}/${name} calls it ${port.name || protocol || port.port}`;
  }
  return undefined;
}
