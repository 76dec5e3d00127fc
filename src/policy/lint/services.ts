import { matches, requirement, selectorOf } from "#labels/selector.ts";
import { protocolNumber } from "#types/proto.ts";
import { listOf, objectOf, textOf } from "../parse/fields.ts";
import type { PortSpec, Rule } from "../rule.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import type { ServicePort, WorldService } from "../world/services.ts";
import type { World, WorldEndpoint } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { labelsOf } from "./nobody.ts";
import { once } from "./once.ts";
import { type Pods, receiversOf } from "./subjects.ts";

/** Ports that a service has but its pods do not, and HTTP rules where the pods speak TLS. */
export function* lintServices(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const { parsed } of world.policies) {
    for (const rule of parsed.rules) {
      if (rule.action !== "allow" || rule.ports === null) continue;
      const receivers = receiversOf(world, rule, pods);
      const near = servicesOf(world)(receivers);
      yield* servicePorts(rule, near, receivers);
      yield* tlsPorts(rule, near, receivers);
    }
  }
}

const selectorOfService = once(({ view }: WorldService) =>
  selectorOf(Object.entries(view.selector ?? {}).map(([key, value]) => requirement(`k8s:${key}`, "In", [value]))),
);

/** Whether a pod is one that a service leads to. */
function isBehind(service: WorldService, pod: WorldEndpoint): boolean {
  if (pod.namespace !== service.namespace) return false;
  const wanted = selectorOfService(service);
  return wanted.requirements.length > 0 && matches(wanted, labelsOf(pod));
}

/** Gives the services that lead to some of these pods, in the world's order. */
export const servicesOf = once(({ services }: World) => {
  const positionsOf = once(({ endpoints }: Pods) =>
    services.flatMap((service, i) => (endpoints.some((one) => isBehind(service, one)) ? [i] : [])),
  );
  return once((pods: readonly Pods[]): readonly WorldService[] => {
    const positions = new Set(pods.flatMap(positionsOf));
    return services.filter((_, i) => positions.has(i));
  });
});

const covers = ({ port, endPort }: PortSpec, wanted: number) => port === 0 || (port <= wanted && wanted <= Math.max(port, endPort));

/** The named ports of pods, each once. */
const namedPorts = once((pods: readonly Pods[]): readonly NamedPort[] => {
  const all = pods.flatMap(({ endpoints }) => endpoints.flatMap((one) => one.namedPorts));
  return [...new Map(all.map((one) => [`${one.name} ${one.protocol} ${one.port}`, one])).values()];
});

function targetsOf({ target, protocol }: ServicePort, pods: readonly Pods[]): number[] {
  if (typeof target === "number") return [target];
  return namedPorts(pods)
    .filter((each) => each.name === target && each.protocol === protocol)
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
      const [target] = targets;
      if (target === undefined || specs.some((one) => targets.some((each) => covers(one, each)))) continue;
      // Where it is a target too, it may well be meant.
      if (services.some((one) => one.ports.some((each) => targetsOf(each, receivers).includes(spec.port)))) continue;
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
  const named = namedPorts(receivers).find((one) => one.port === spec.port && /^https|tls/.test(one.name));
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
