import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import type { Direction } from "#types/direction.ts";
import { protocolNumber } from "#types/proto.ts";
import { localCluster, namespaceRequirements, podRequirements } from "./parse-knp.ts";
import { readPrefix } from "./parse-peers.ts";
import { isPortName } from "./parse-ports.ts";
import { readRequirements } from "./parse-selector.ts";
import { cidrPeer, fqdnPeer, labelPeer } from "./peer.ts";
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
} from "./reading.ts";
import { type PeerSelector, type PolicyRef, type PortSpec, type Rule, type RuleAction, tier } from "./rule.ts";

const actions: Readonly<Record<string, RuleAction>> = { Accept: "allow", Deny: "deny", Pass: "pass" };
const tiers: Readonly<Record<string, number>> = { Admin: tier.admin, Baseline: tier.baseline };

/** Requirements of `namespaces`; negative ones alone select what has no namespace too, as in Cilium. */
function readNamespaces(reading: Reading, value: unknown, path: string): Requirement[] {
  return namespaceRequirements(reading, value, path);
}

function readPods(reading: Reading, value: unknown, path: string): Requirement[] {
  const fields = readObject(reading, value, path) ?? {};
  checkFields(reading, fields, path, ["namespaceSelector", "podSelector"]);
  return [
    ...namespaceRequirements(reading, fields.namespaceSelector, `${path}.namespaceSelector`),
    ...podRequirements(reading, fields.podSelector, `${path}.podSelector`),
  ];
}

function readSubject(reading: Reading, value: unknown, path: string): Requirement[] {
  const fields = readObject(reading, value, path) ?? {};
  checkFields(reading, fields, path, ["namespaces", "pods"]);
  if (fields.pods !== undefined && fields.pods !== null) return readPods(reading, fields.pods, `${path}.pods`);
  if (fields.namespaces === undefined || fields.namespaces === null) refuse(reading, path, "needs namespaces or pods");
  return readNamespaces(reading, fields.namespaces, `${path}.namespaces`);
}

/** As in Cilium, `pods` are those of the local cluster, and `namespaces` those of every cluster. */
function readPeer(reading: Reading, fields: Fields, path: string, direction: Direction): PeerSelector[] {
  const allowed = direction === "ingress" ? ["namespaces", "pods"] : ["namespaces", "pods", "nodes", "networks", "domainNames"];
  checkFields(reading, fields, path, allowed);
  const has = (name: string) => allowed.includes(name) && fields[name] !== undefined && fields[name] !== null;
  if (has("namespaces")) return [labelPeer(readNamespaces(reading, fields.namespaces, `${path}.namespaces`))];
  if (has("pods")) return [labelPeer([...readPods(reading, fields.pods, `${path}.pods`), localCluster(reading)])];
  if (has("nodes"))
    return [
      labelPeer([...readRequirements(reading, fields.nodes, `${path}.nodes`, "node"), requirement("reserved:remote-node", "Exists")]),
    ];
  if (has("networks")) {
    return (readStrings(reading, fields.networks, `${path}.networks`) ?? []).flatMap((text, i) => {
      const prefix = readPrefix(reading, text, `${path}.networks[${i}]`);
      return prefix === undefined ? [] : [cidrPeer(prefix, [], reading.settings)];
    });
  }
  if (has("domainNames")) {
    return (readStrings(reading, fields.domainNames, `${path}.domainNames`) ?? []).map((text) =>
      fqdnPeer(text.includes("*") ? { matchPattern: text.replace(/^\*\./, "**.") } : { matchName: text }),
    );
  }
  refuse(reading, path, `needs one of ${allowed.join(", ")}`);
  return [];
}

function readPortOf(reading: Reading, fields: Fields, path: string, protocol: number): PortSpec[] {
  const port = readObject(reading, fields.destinationPort, `${path}.destinationPort`);
  if (port === undefined) return [{ protocol, name: "", port: 0, endPort: 0 }];
  const range = readObject(reading, port.range, `${path}.destinationPort.range`);
  if (range === undefined) {
    const number = readInteger(reading, port.number, `${path}.destinationPort.number`, 1, 0xffff) ?? 0;
    return [{ protocol, name: "", port: number, endPort: 0 }];
  }
  const start = readInteger(reading, range.start, `${path}.destinationPort.range.start`, 1, 0xffff) ?? 0;
  const end = readInteger(reading, range.end, `${path}.destinationPort.range.end`, 1, 0xffff) ?? 0;
  return [{ protocol, name: "", port: start, endPort: end > start ? end : 0 }];
}

function readProtocol(reading: Reading, fields: Fields, path: string): PortSpec[] {
  checkFields(reading, fields, path, ["tcp", "udp", "sctp", "destinationNamedPort"]);
  const name = readString(reading, fields.destinationNamedPort, `${path}.destinationNamedPort`);
  const numbers = { tcp: protocolNumber.TCP, udp: protocolNumber.UDP, sctp: protocolNumber.SCTP };
  if (name !== undefined) {
    if (!isPortName(name)) refuse(reading, `${path}.destinationNamedPort`, `"${name}" is not a port name`);
    return Object.values(numbers).map((protocol) => ({ protocol, name: name.toLowerCase(), port: 0, endPort: 0 }));
  }
  return Object.entries(numbers).flatMap(([key, protocol]) => {
    const one = readObject(reading, fields[key], `${path}.${key}`);
    return one === undefined ? [] : readPortOf(reading, one, `${path}.${key}`, protocol);
  });
}

/** Reads a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2): ordered rules of a tier that accept, deny or pass on. */
export function readClusterNetworkPolicy(reading: Reading, object: Fields, policy: PolicyRef): Rule[] {
  const spec = readObject(reading, object.spec, "spec") ?? {};
  checkFields(reading, spec, "spec", ["tier", "priority", "subject", "ingress", "egress"]);
  const tierName = readString(reading, spec.tier, "spec.tier") ?? "";
  if (!Object.hasOwn(tiers, tierName))
    refuse(reading, "spec.tier", `"${tierName}" is not Admin or Baseline${didYouMean(tierName, Object.keys(tiers))}`);
  const priority = readInteger(reading, spec.priority, "spec.priority", 0, 1000) ?? 0;
  const subject = selectorOf(readSubject(reading, spec.subject, "spec.subject"));
  const { kind, namespace, name } = policy;
  const readDirection = (direction: Direction) =>
    (readObjects(reading, spec[direction], `spec.${direction}`) ?? []).map((entry, index): Rule => {
      const path = `spec.${direction}[${index}]`;
      const field = direction === "ingress" ? "from" : "to";
      checkFields(reading, entry, path, ["name", "action", field, "protocols"]);
      const action = readString(reading, entry.action, `${path}.action`) ?? "";
      if (!Object.hasOwn(actions, action))
        refuse(reading, `${path}.action`, `"${action}" is not Accept, Deny or Pass${didYouMean(action, Object.keys(actions))}`);
      const peers = (readObjects(reading, entry[field], `${path}.${field}`) ?? []).flatMap((one, i) =>
        readPeer(reading, one, `${path}.${field}[${i}]`, direction),
      );
      const ports = (readObjects(reading, entry.protocols, `${path}.protocols`) ?? []).flatMap((one, i) =>
        readProtocol(reading, one, `${path}.protocols[${i}]`),
      );
      return {
        policy,
        origin: { kind, namespace, name, section: direction, index, spec: 0 },
        direction,
        action: actions[action] ?? "deny",
        tier: tiers[tierName] ?? tier.admin,
        priority,
        order: index,
        subject,
        onNode: false,
        defaultDeny: false,
        peers,
        services: [],
        ports: ports.length === 0 ? null : [{ ports, serverNames: [] }],
      };
    });
  return [...readDirection("ingress"), ...readDirection("egress")];
}
