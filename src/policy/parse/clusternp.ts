import { type FqdnSelector, validateFqdn } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import { parseAddress } from "#types/addr.ts";
import { type Direction, directions } from "#types/direction.ts";
import { hostPrefix } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import { anyPeer, cidrPeer, fqdnPeer, labelPeer } from "../resolve/peer.ts";
import { type PeerSelector, type PolicyRef, type PortSpec, type Rule, type RuleAction, tier } from "../rule.ts";
import { localCluster, namespaceRequirements, podRequirements } from "./knp.ts";
import { readPrefix } from "./peers.ts";
import { isPortName, parsePortNumber, portProtocols } from "./ports.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readInteger,
  readObject,
  readObjects,
  readString,
  readStrings,
  refuse,
  warnUnstorable,
} from "./reading.ts";
import { readRequirements } from "./selector.ts";

const actions: Readonly<Record<string, RuleAction>> = { Accept: "allow", Deny: "deny", Pass: "pass" };
const tiers: Readonly<Record<string, number>> = { Admin: tier.admin, Baseline: tier.baseline };

/** Requirements of `namespaces`; negative ones alone select what has no namespace too, as in Cilium. */
function readNamespaces(reading: Reading, value: unknown, path: string): Requirement[] {
  return namespaceRequirements(reading, value, path);
}

/** Requirements on pods by their own labels, and on their namespaces. */
type Pods = { readonly own: readonly Requirement[]; readonly namespaces: readonly Requirement[] };

function readPods(reading: Reading, value: unknown, path: string): Pods {
  const fields = readObject(reading, value, path) ?? {};
  checkFields(reading, fields, path, ["namespaceSelector", "podSelector"]);
  return {
    own: podRequirements(reading, fields.podSelector, `${path}.podSelector`),
    namespaces: namespaceRequirements(reading, fields.namespaceSelector, `${path}.namespaceSelector`),
  };
}

function readSubject(reading: Reading, value: unknown, path: string): Requirement[] {
  const fields = readObject(reading, value, path) ?? {};
  checkFields(reading, fields, path, ["namespaces", "pods"]);
  if (fields.namespaces !== undefined && fields.namespaces !== null)
    return readNamespaces(reading, fields.namespaces, `${path}.namespaces`);
  if (fields.pods === undefined || fields.pods === null) refuse(reading, path, "needs namespaces or pods");
  const { own, namespaces } = readPods(reading, fields.pods, `${path}.pods`);
  return [...own, ...namespaces];
}

/** The peers of one entry, the names among them, which have to be looked up first, and whether it is of a kind that nobody here knows. */
type Peers = { readonly peers: readonly PeerSelector[]; readonly names: readonly FqdnSelector[]; readonly unknown: boolean };

const peersOnly = (...peers: readonly PeerSelector[]): Peers => ({ peers, names: [], unknown: false });

/** As in Cilium, `pods` and `nodes` are those of the local cluster unless they name one, and `namespaces` those of every cluster. */
function readPeer(reading: Reading, fields: Fields, path: string, direction: Direction, action: RuleAction): Peers {
  const allowed = direction === "ingress" ? ["namespaces", "pods"] : ["namespaces", "pods", "nodes", "networks", "domainNames"];
  checkFields(reading, fields, path, allowed);
  const has = (name: string) => allowed.includes(name) && fields[name] !== undefined && fields[name] !== null;
  if (has("pods")) {
    const { own, namespaces } = readPods(reading, fields.pods, `${path}.pods`);
    return peersOnly(labelPeer([...own, ...namespaces, ...localCluster(reading, own)]));
  }
  if (has("namespaces")) return peersOnly(labelPeer(readNamespaces(reading, fields.namespaces, `${path}.namespaces`)));
  if (has("nodes")) return peersOnly(readNodes(reading, fields.nodes, `${path}.nodes`));
  if (has("networks")) {
    const networks = readSet(reading, fields.networks, `${path}.networks`);
    return peersOnly(...networks.flatMap((text, i) => readNetwork(reading, text, `${path}.networks[${i}]`)));
  }
  if (has("domainNames")) return readNames(reading, fields.domainNames, `${path}.domainNames`, action);
  const effect = action === "allow" ? "accepts nobody" : "denies everybody";
  warnUnstorable(reading, path, `needs one of ${allowed.join(", ")}: a rule that does not say whom it means ${effect}`);
  return { peers: [], names: [], unknown: true };
}

function readNodes(reading: Reading, value: unknown, path: string): PeerSelector {
  if (!reading.settings.nodeSelectorLabels) refuse(reading, path, 'needs the agent setting "enable-node-selector-labels"');
  const nodes = readRequirements(reading, value, path, "node");
  const names = nodes.some(({ source, key }) => source === "node" && key === labelKey.cluster);
  const cluster = names ? [] : [requirement(`k8s:${labelKey.cluster}`, "In", [reading.settings.clusterName])];
  return labelPeer([...nodes, requirement("reserved:remote-node", "Exists"), ...cluster]);
}

/** A list of different texts. */
function readSet(reading: Reading, value: unknown, path: string): readonly string[] {
  const texts = readStrings(reading, value, path) ?? [];
  texts.forEach((text, i) => {
    if (texts.indexOf(text) < i) warnUnstorable(reading, `${path}[${i}]`, `"${text}" is there twice, which a cluster's schema refuses`);
  });
  return texts;
}

/** An address block; here a bare address is one too. */
function readNetwork(reading: Reading, text: string, path: string): PeerSelector[] {
  const address = parseAddress(text);
  const prefix = address === undefined ? readPrefix(reading, text, path) : hostPrefix(address);
  return prefix === undefined ? [] : [cidrPeer(prefix, [], reading.settings)];
}

/** A star at the front stands for any number of labels: `*.a.b` is Cilium's `**.a.b`. */
function readNames(reading: Reading, value: unknown, path: string, action: RuleAction): Peers {
  if (action !== "allow") refuse(reading, path, "names can be accepted only, not denied or passed on");
  if (!reading.settings.l7Proxy) refuse(reading, path, 'needs the L7 proxy, which the agent setting "enable-l7-proxy" switches off');
  const names = readSet(reading, value, path).map((text, i): FqdnSelector => {
    const starred = text.startsWith("*");
    const name = starred ? { matchPattern: text.startsWith("**") ? text : `*${text}` } : { matchName: text };
    for (const problem of validateFqdn(name, false)) refuse(reading, `${path}[${i}]`, problem);
    return name;
  });
  return { peers: names.map(fqdnPeer), names, unknown: false };
}

/** To know the addresses of names, the DNS pods must be asked for them: on their ports "dns" and "dns-tcp", for these names only. */
function lookupOf(rule: Rule, names: readonly FqdnSelector[]): Rule {
  const spec = (name: string) => portProtocols.map((protocol) => ({ protocol, name, port: 0, endPort: 0 }));
  const l7 = { http: [], dns: names, kafka: [] };
  const peers = [labelPeer([requirement("k8s-app", "In", ["kube-dns"])])];
  return { ...rule, peers, ports: [{ ports: [...spec("dns"), ...spec("dns-tcp")], l7, serverNames: [] }] };
}

function readPortOf(reading: Reading, fields: Fields, path: string, protocol: number): PortSpec[] {
  const port = readObject(reading, fields.destinationPort, `${path}.destinationPort`);
  if (port === undefined) return [{ protocol, name: "", port: 0, endPort: 0 }];
  const range = readObject(reading, port.range, `${path}.destinationPort.range`);
  if (range === undefined) {
    const number = readInteger(reading, port.number, `${path}.destinationPort.number`, 0, 0xffff) ?? 0;
    return [{ protocol, name: "", port: number, endPort: 0 }];
  }
  const start = readInteger(reading, range.start, `${path}.destinationPort.range.start`, 0, 0xffff) ?? 0;
  const end = readInteger(reading, range.end, `${path}.destinationPort.range.end`, 0, 0xffff) ?? 0;
  if (end <= start)
    warnUnstorable(
      reading,
      `${path}.destinationPort.range`,
      `ends at ${end}, which is not after its start, ${start}: it means the one port`,
    );
  return [{ protocol, name: "", port: start, endPort: start > 0 && end > start ? end : 0 }];
}

function readProtocol(reading: Reading, fields: Fields, path: string): PortSpec[] {
  checkFields(reading, fields, path, ["tcp", "udp", "sctp", "destinationNamedPort"]);
  const name = readString(reading, fields.destinationNamedPort, `${path}.destinationNamedPort`) ?? "";
  const given = transports.flatMap(([key, protocol]) => {
    const one = readObject(reading, fields[key], `${path}.${key}`);
    return one === undefined ? [] : [{ at: `${path}.${key}`, one, protocol }];
  });
  const [first] = given;
  if (first !== undefined && isMissing(first.one.destinationPort))
    warnUnstorable(reading, first.at, "needs a destinationPort: a cluster's schema refuses to take every port for none");
  if (given.length + (name === "" ? 0 : 1) > 1)
    warnUnstorable(reading, path, "has more than one of tcp, udp, sctp and destinationNamedPort; a cluster's schema refuses that");
  // Of several the first counts, but a name counts before a protocol that says nothing of ports.
  if (first !== undefined && (name === "" || !isMissing(first.one.destinationPort)))
    return readPortOf(reading, first.one, first.at, first.protocol);
  return readNamedPort(reading, name, `${path}.destinationNamedPort`);
}

/** A port by its name, of whatever protocol. As in Cilium, a number counts as one, and a name with capitals is nobody's. */
function readNamedPort(reading: Reading, name: string, path: string): PortSpec[] {
  const port = parsePortNumber(name);
  if (name === "") refuse(reading, path.slice(0, path.lastIndexOf(".")), "needs one of tcp, udp, sctp and destinationNamedPort");
  else if (port === undefined && !isPortName(name)) refuse(reading, path, `"${name}" is not a port name`);
  return portProtocols.map((protocol) => ({ protocol, name: port === undefined ? name : "", port: port ?? 0, endPort: 0 }));
}

const transports = [
  ["tcp", protocolNumber.TCP],
  ["udp", protocolNumber.UDP],
  ["sctp", protocolNumber.SCTP],
] as const;

function isMissing(value: unknown): boolean {
  return value === undefined || value === null;
}

/** What all rules of one policy have in common. */
type PolicyScope = Pick<Rule, "policy" | "tier" | "priority" | "subject">;

function readAction(reading: Reading, value: unknown, path: string): RuleAction {
  const action = readString(reading, value, path) ?? "";
  if (Object.hasOwn(actions, action)) return actions[action] ?? "deny";
  // Every other kind of policy allows.
  const near = /^allow(ed)?$/i.test(action) ? '; did you mean "Accept"?' : didYouMean(action, Object.keys(actions));
  refuse(reading, path, `"${action}" is not Accept, Deny or Pass${near}`);
  return "deny";
}

/** One entry of `ingress` or `egress`; names among its peers make a second rule, by which they are looked up. */
function readRule(reading: Reading, entry: Fields, direction: Direction, index: number, scope: PolicyScope): Rule[] {
  const path = `spec.${direction}[${index}]`;
  const field = direction === "ingress" ? "from" : "to";
  checkFields(reading, entry, path, ["name", "action", field, "protocols"]);
  const action = readAction(reading, entry.action, `${path}.action`);
  const given = readObjects(reading, entry[field], `${path}.${field}`) ?? [];
  const read = given.map((one, i) => readPeer(reading, one, `${path}.${field}[${i}]`, direction, action));
  const names = read.flatMap((one) => one.names);
  const protocols = readObjects(reading, entry.protocols, `${path}.protocols`) ?? [];
  const ports = protocols.flatMap((one, i) => readProtocol(reading, one, `${path}.protocols[${i}]`));
  const { kind, namespace, name } = scope.policy;
  const rule: Rule = {
    ...scope,
    origin: { kind, namespace, name, section: direction, index, spec: 0 },
    direction,
    action,
    order: index,
    onNode: false,
    defaultDeny: false,
    // Without peers the rule is about everybody.
    peers: given.length === 0 ? [anyPeer] : read.flatMap((one) => one.peers),
    services: [],
    ports: protocols.length === 0 ? null : [{ ports, serverNames: [] }],
  };
  // Whom a newer kind of peer means nobody knows here: what it would keep out stays out.
  const closed: Rule[] = read.some((one) => one.unknown) && action !== "allow" ? [{ ...rule, action: "deny", peers: [anyPeer] }] : [];
  // A rule of nothing else is none, and does not make policy be enforced.
  const known = given.length === 0 || read.some((one) => !one.unknown);
  return [...(names.length === 0 ? [] : [lookupOf(rule, names)]), ...(known ? [rule] : []), ...closed];
}

/** Reads a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2): ordered rules of a tier that accept, deny or pass on. */
export function readClusterNetworkPolicy(reading: Reading, object: Fields, policy: PolicyRef): Rule[] {
  const spec = readObject(reading, object.spec, "spec") ?? {};
  checkFields(reading, spec, "spec", ["tier", "priority", "subject", "ingress", "egress"]);
  const tierName = readString(reading, spec.tier, "spec.tier") ?? "";
  if (!Object.hasOwn(tiers, tierName))
    refuse(reading, "spec.tier", `"${tierName}" is not Admin or Baseline${didYouMean(tierName, Object.keys(tiers))}`);
  const scope: PolicyScope = {
    policy,
    tier: tiers[tierName] ?? tier.admin,
    priority: readInteger(reading, spec.priority, "spec.priority", 0, 1000) ?? 0,
    subject: selectorOf(readSubject(reading, spec.subject, "spec.subject")),
  };
  return directions.flatMap((direction) =>
    (readObjects(reading, spec[direction], `spec.${direction}`) ?? []).flatMap((entry, i) => readRule(reading, entry, direction, i, scope)),
  );
}
