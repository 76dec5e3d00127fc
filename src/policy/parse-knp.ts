import { labelKey } from "#labels/label.ts";
import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import type { Direction } from "#types/direction.ts";
import { type Prefix, prefixContains } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import { readPrefix } from "./parse-peers.ts";
import { isPortName } from "./parse-ports.ts";
import { readRequirements } from "./parse-selector.ts";
import { anyPeer, cidrPeer, labelPeer } from "./peer.ts";
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
import { type Issue, type PeerSelector, type PolicyRef, type PortSpec, type Rule, tier } from "./rule.ts";

const protocols = ["TCP", "UDP", "SCTP", "GRE", "IPIP", "IPV6", "ESP", "AH", "VRRP", "IGMP"] as const;

/** Kubernetes checks the selectors of its own kinds; what slips through is legal and selects nothing. */
function readChecked(reading: Reading, value: unknown, path: string, keyPrefix = ""): Requirement[] {
  const issues: Issue[] = [];
  const requirements = readRequirements({ ...reading, issues }, value, path, keyPrefix);
  reading.issues.push(...issues.filter((one) => one.stage === "decode"));
  reading.warnings.push(...issues.filter((one) => one.stage === "validate"));
  return requirements;
}

/** Requirements on a namespace's labels, from the selector that stands in the object. */
export function namespaceRequirements(reading: Reading, value: unknown, path: string): Requirement[] {
  const read = readChecked(reading, value, path);
  if (read.length === 0) return [requirement(`k8s:${labelKey.namespace}`, "Exists")];
  return read.map((one) => ({ ...one, source: "k8s", key: `${labelKey.namespaceLabels}.${one.key}` }));
}

/** Requirements on a pod's own labels. */
export function podRequirements(reading: Reading, value: unknown, path: string): Requirement[] {
  return readChecked(reading, value, path, "k8s");
}

/** The local cluster: what selectors of Kubernetes policies mean. */
export function localCluster(reading: Reading): Requirement {
  return requirement(`k8s:${labelKey.cluster}`, "In", [reading.settings.clusterName]);
}

function readBlock(reading: Reading, fields: Fields, path: string): PeerSelector[] {
  checkFields(reading, fields, path, ["cidr", "except"]);
  const prefix = readPrefix(reading, readString(reading, fields.cidr, `${path}.cidr`) ?? "", `${path}.cidr`);
  const except: Prefix[] = [];
  readStrings(reading, fields.except, `${path}.except`)?.forEach((text, i) => {
    const one = readPrefix(reading, text, `${path}.except[${i}]`);
    if (one === undefined) return;
    if (prefix !== undefined && !prefixContains(prefix, one)) refuse(reading, `${path}.except[${i}]`, `${one} is not inside ${prefix}`);
    except.push(one);
  });
  return prefix === undefined ? [] : [cidrPeer(prefix, except, reading.settings)];
}

function readPeer(reading: Reading, fields: Fields, path: string, namespace: string): PeerSelector[] {
  checkFields(reading, fields, path, ["podSelector", "namespaceSelector", "ipBlock"]);
  const block = readObject(reading, fields.ipBlock, `${path}.ipBlock`);
  const inNamespace = readObject(reading, fields.namespaceSelector, `${path}.namespaceSelector`);
  if (block !== undefined) {
    if (inNamespace !== undefined || fields.podSelector !== undefined)
      refuse(reading, path, "ipBlock can not stand beside podSelector or namespaceSelector");
    return readBlock(reading, block, `${path}.ipBlock`);
  }
  const pods = podRequirements(reading, fields.podSelector, `${path}.podSelector`);
  const where =
    inNamespace === undefined
      ? [requirement(`k8s:${labelKey.namespace}`, "In", [namespace])]
      : namespaceRequirements(reading, inNamespace, `${path}.namespaceSelector`);
  return [labelPeer([...pods, ...where, localCluster(reading)])];
}

function readPort(reading: Reading, fields: Fields, path: string): PortSpec[] {
  checkFields(reading, fields, path, ["port", "endPort", "protocol"]);
  const text = readString(reading, fields.protocol, `${path}.protocol`) ?? "TCP";
  const protocol = protocols.find((name) => name === text.toUpperCase());
  if (protocol === undefined) {
    refuse(reading, `${path}.protocol`, `"${text}" is not a protocol; allowed are TCP, UDP and SCTP${didYouMean(text, protocols)}`);
    return [];
  }
  const number = protocolNumber[protocol];
  const raw = fields.port;
  const endPort = readInteger(reading, fields.endPort, `${path}.endPort`, 0, 0xffff) ?? 0;
  if (raw === undefined || raw === null) return [{ protocol: number, name: "", port: 0, endPort: 0 }];
  if (typeof raw === "string" && !/^\d+$/.test(raw)) {
    if (!isPortName(raw)) refuse(reading, `${path}.port`, `"${raw}" is neither a port number nor a port name`);
    return [{ protocol: number, name: raw.toLowerCase(), port: 0, endPort: 0 }];
  }
  const port = readInteger(reading, typeof raw === "string" ? Number(raw) : raw, `${path}.port`, 0, 0xffff) ?? 0;
  return [{ protocol: number, name: "", port, endPort: endPort > port ? endPort : 0 }];
}

function readEntries(
  reading: Reading,
  spec: Fields,
  direction: Direction,
  make: (index: number) => Omit<Rule, "peers" | "ports">,
  namespace: string,
): Rule[] {
  const peerField = direction === "ingress" ? "from" : "to";
  return (readObjects(reading, spec[direction], `spec.${direction}`) ?? []).map((entry, i) => {
    const path = `spec.${direction}[${i}]`;
    checkFields(reading, entry, path, [peerField, "ports"]);
    const peers = (readObjects(reading, entry[peerField], `${path}.${peerField}`) ?? []).map((one, j) =>
      readPeer(reading, one, `${path}.${peerField}[${j}]`, namespace),
    );
    const ports = (readObjects(reading, entry.ports, `${path}.ports`) ?? []).map((one, j) => readPort(reading, one, `${path}.ports[${j}]`));
    return {
      ...make(i),
      peers: peers.length === 0 ? [anyPeer] : peers.flat(),
      ports: ports.length === 0 ? null : [{ ports: ports.flat(), serverNames: [] }],
    };
  });
}

/** Reads a Kubernetes NetworkPolicy as Cilium does: entries count in their direction whatever `policyTypes` says. */
export function readNetworkPolicy(reading: Reading, object: Fields, policy: PolicyRef): Rule[] {
  const spec = readObject(reading, object.spec, "spec") ?? {};
  checkFields(reading, spec, "spec", ["podSelector", "policyTypes", "ingress", "egress"]);
  const types = readStrings(reading, spec.policyTypes, "spec.policyTypes") ?? [];
  const { kind, namespace, name } = policy;
  const subject = selectorOf([
    ...podRequirements(reading, spec.podSelector, "spec.podSelector"),
    requirement(`k8s:${labelKey.namespace}`, "In", [namespace]),
  ]);
  const make = (direction: Direction) => (index: number) => ({
    policy,
    origin: { kind, namespace, name, section: direction, index, spec: 0 },
    direction,
    action: "allow" as const,
    tier: tier.normal,
    priority: 0,
    order: 0,
    subject,
    onNode: false,
    defaultDeny: true,
    services: [],
  });
  const ingress = readEntries(reading, spec, "ingress", make("ingress"), namespace);
  const egress = readEntries(reading, spec, "egress", make("egress"), namespace);
  // A direction without entries is isolated by its type alone; without types, ingress is.
  if (ingress.length === 0 && (types.includes("Ingress") || !types.includes("Egress")))
    ingress.push({ ...make("ingress")(0), peers: [], ports: null });
  if (egress.length === 0 && types.includes("Egress")) egress.push({ ...make("egress")(0), peers: [], ports: null });
  return [...ingress, ...egress];
}
