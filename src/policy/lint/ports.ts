import { formatProtocol, hasPorts } from "#types/proto.ts";
import { didYouMean } from "../parse/reading.ts";
import type { PeerSelector, PortSpec, Rule } from "../rule.ts";
import type { NamedPort } from "../selectors/selector-cache.ts";
import type { World } from "../world/world.ts";
import type { Finding } from "./finding.ts";
import { once } from "./once.ts";
import { type Pods, receiversOf } from "./subjects.ts";

type Said = Pick<Finding, "severity" | "message" | "fix">;

/** The ports that the containers of pods declare: each once. */
type Ports = {
  readonly nobody: boolean;
  /** Some of the pods declare none at all. */
  readonly unsaid: boolean;
  readonly had: readonly NamedPort[];
  readonly shown: string;
};

const portsOf = once((pods: readonly Pods[]): Ports => {
  const all = pods.flatMap(({ endpoints }) => endpoints).map(({ containerPorts }) => containerPorts);
  const had = [...new Map(all.flat().map((one) => [`${one.name} ${one.protocol} ${one.port}`, one])).values()];
  const shown = [...new Set(had.map(({ port, protocol }) => `${port}/${formatProtocol(protocol)}`))].join(", ");
  return { nobody: all.length === 0, unsaid: all.some((ports) => ports.length === 0), had, shown };
});

const servicePorts = once(({ services }: World) => new Set(services.flatMap(({ ports }) => ports).map(({ port }) => port)));

/** Ports, by name or by number, that none of the pods has that a rule is about. */
export function* lintPorts(world: World, pods: readonly Pods[]): Generator<Finding> {
  for (const rule of world.policies.flatMap(({ parsed }) => parsed.rules)) {
    if (rule.onNode) continue;
    const at = { id: "L30", policy: rule.policy, rule: rule.origin } as const;
    const receivers = portsOf(receiversOf(world, rule, pods));
    for (const said of [...namedPorts(world, rule, receivers), ...undeclared(world, rule, receivers)]) yield { ...at, ...said };
  }
}

function* namedPorts({ repo }: World, rule: Rule, receivers: Ports): Generator<Said> {
  const specs = (rule.ports ?? []).flatMap(({ ports }) => ports).filter(({ name }) => name !== "");
  const outside = rule.direction === "egress" && isOutside(repo.peersOf(rule));
  for (const [name, same] of Map.groupBy(specs, (one) => one.name)) {
    const said = outside ? nobodyOutside(name) : missingName(name, same, receivers);
    if (said !== undefined) yield said;
  }
}

/** Whether peers can only be addresses outside the cluster. */
function isOutside(peers: readonly PeerSelector[]): boolean {
  const isWorld = ({ requirements }: PeerSelector) =>
    requirements.some(({ source, key }) => source === "reserved" && key.startsWith("world"));
  return peers.length > 0 && peers.every((peer) => peer.within !== undefined || peer.fqdn !== undefined || isWorld(peer));
}

function nobodyOutside(name: string): Said {
  const message = `the port "${name}" is a name that containers give; addresses outside the cluster have none, so nothing is matched`;
  return { severity: "error", message, fix: "write the port's number" };
}

function missingName(name: string, specs: readonly PortSpec[], receivers: Ports): Said | undefined {
  const { had } = receivers;
  if (receivers.nobody) return undefined;
  const same = had.filter((one) => one.name === name);
  if (same.some(({ protocol }) => specs.some((spec) => spec.protocol === protocol))) return undefined;
  const [other] = same;
  if (other !== undefined) {
    const message = `the port "${name}" of the pods is ${formatProtocol(other.protocol)}, so this matches nothing`;
    return { severity: "warning", message, fix: `write protocol: ${formatProtocol(other.protocol)}` };
  }
  const names = [...new Set(had.map((one) => one.name))].filter((one) => one !== "");
  const message = `none of the pods has a port that is called "${name}", so this matches nothing${didYouMean(name, names)}`;
  const fix = names.length === 0 ? "write the port's number" : `the pods have ${names.join(", ")}; a number is understood as well`;
  return { severity: "warning", message, fix };
}

const overlaps = (spec: PortSpec, { protocol, port }: NamedPort) =>
  (spec.protocol === 0 || spec.protocol === protocol) && spec.port <= port && port <= Math.max(spec.port, spec.endPort);

/** A port that no container declares; they need not, so it may well be there. What is the port of a service is another finding. */
function* undeclared(world: World, rule: Rule, receivers: Ports): Generator<Said> {
  const { had, shown } = receivers;
  if (rule.action !== "allow" || receivers.nobody || receivers.unsaid) return;
  const numbers = (rule.ports ?? [])
    .flatMap(({ ports }) => ports)
    .filter(({ name, port, protocol }) => name === "" && port !== 0 && hasPorts(protocol));
  // A port of any protocol is three, of which one is enough.
  for (const same of Map.groupBy(numbers, ({ port, endPort }) => `${port}-${endPort}`).values()) {
    const [spec] = same;
    if (spec === undefined || same.some((one) => had.some((each) => overlaps(one, each)))) continue;
    if (servicePorts(world).has(spec.port)) continue;
    const port = same.length > 1 ? `${spec.port}` : `${spec.port}/${formatProtocol(spec.protocol)}`;
    const message = `none of the pods declares ${port}; they declare ${shown}`;
    yield { severity: "info", message, fix: "none, if they listen there all the same; else correct the port" };
  }
}
