import { labelKey } from "#labels/label.ts";
import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import type { Direction } from "#types/direction.ts";
import { prefixContains } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import { anyPeer, cidrPeer, labelPeer } from "../resolve/peer.ts";
import { type Issue, type PeerSelector, type PolicyRef, type PortSpec, type Rule, tier } from "../rule.ts";
import { readExcept, readPrefix } from "./peers.ts";
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

const protocols = ["TCP", "UDP", "SCTP", "ANY", "GRE", "IPIP", "IPV6", "ESP", "AH", "VRRP", "IGMP"] as const;

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

/** The local cluster: what selectors of Kubernetes policies mean unless the pods' labels name one. */
export function localCluster(reading: Reading, pods: readonly Requirement[]): Requirement[] {
  if (pods.some(({ key, operator, values }) => key === labelKey.cluster && !(operator === "In" && values[0] === ""))) return [];
  return [requirement(`k8s:${labelKey.cluster}`, "In", [reading.settings.clusterName])];
}

/** Requirements on the pods of one namespace; in `matchLabels`, one that names another is overwritten, as in Cilium. */
function podsOf(reading: Reading, value: unknown, path: string, namespace: string): Requirement[] {
  const fields = readObject(reading, value, path) ?? {};
  const { [labelKey.namespace]: _, ...labels } = readObject(reading, fields.matchLabels, `${path}.matchLabels`) ?? {};
  const own = podRequirements(reading, { ...fields, matchLabels: labels }, path);
  return [...own, requirement(`k8s:${labelKey.namespace}`, "In", [namespace])];
}

function readBlock(reading: Reading, fields: Fields, path: string): PeerSelector[] {
  checkFields(reading, fields, path, ["cidr", "except"]);
  const prefix = readPrefix(reading, readString(reading, fields.cidr, `${path}.cidr`) ?? "", `${path}.cidr`);
  const except = readExcept(reading, fields.except, `${path}.except`, undefined);
  // Cilium does not check what Kubernetes has checked.
  for (const one of except)
    if (prefix !== undefined && !prefixContains(prefix, one))
      warnUnstorable(reading, `${path}.except`, `${one} is not inside ${prefix}: Kubernetes refuses it`);
  return prefix === undefined ? [] : [cidrPeer(prefix, except, reading.settings)];
}

/** An empty peer is the pods of the policy's own namespace, and a block goes before selectors, as in Cilium. */
function readPeer(reading: Reading, fields: Fields, path: string, namespace: string): PeerSelector[] {
  checkFields(reading, fields, path, ["podSelector", "namespaceSelector", "ipBlock"]);
  const block = readObject(reading, fields.ipBlock, `${path}.ipBlock`);
  const inNamespace = readObject(reading, fields.namespaceSelector, `${path}.namespaceSelector`);
  const ofPods = readObject(reading, fields.podSelector, `${path}.podSelector`);
  if (block === undefined && inNamespace === undefined && ofPods === undefined)
    warnUnstorable(
      reading,
      path,
      "names no peer: Kubernetes refuses it; for everybody leave the list out, for the namespace's pods write podSelector: {}",
    );
  if (block !== undefined && (inNamespace !== undefined || ofPods !== undefined))
    warnUnstorable(reading, path, "selectors beside ipBlock are ignored, as in Cilium; Kubernetes refuses them in one peer");
  const at = `${path}.podSelector`;
  const pods = inNamespace === undefined ? podsOf(reading, ofPods, at, namespace) : podRequirements(reading, ofPods, at);
  const where = inNamespace === undefined ? [] : namespaceRequirements(reading, inNamespace, `${path}.namespaceSelector`);
  return block === undefined
    ? [labelPeer([...pods, ...where, ...localCluster(reading, pods)])]
    : readBlock(reading, block, `${path}.ipBlock`);
}

function readPort(reading: Reading, fields: Fields, path: string): PortSpec[] {
  checkFields(reading, fields, path, ["port", "endPort", "protocol"]);
  const text = readString(reading, fields.protocol, `${path}.protocol`) ?? "TCP";
  const protocol = protocols.find((name) => name === (text.toUpperCase() || "ANY"));
  if (protocol === undefined) {
    refuse(reading, `${path}.protocol`, `"${text}" is not a protocol; allowed are TCP, UDP and SCTP${didYouMean(text, protocols)}`);
    return [];
  }
  if (!["TCP", "UDP", "SCTP"].includes(text))
    warnUnstorable(
      reading,
      `${path}.protocol`,
      `"${text}" is refused by Kubernetes; allowed are TCP, UDP and SCTP${didYouMean(text, protocols)}`,
    );
  const spread = protocol === "ANY" ? portProtocols : [protocolNumber[protocol]];
  const given = readInteger(reading, fields.endPort, `${path}.endPort`, -0x80000000, 0x7fffffff, [1, 0xffff]) ?? 0;
  const endPort = given & 0xffff;
  if (endPort !== given)
    warnUnstorable(reading, `${path}.endPort`, `${given} is not a port: Kubernetes refuses it; its lowest 16 bits count, ${endPort}`);
  const { name, port } = readPortNumber(reading, fields.port, `${path}.port`);
  if (endPort > 0 && (port === 0 || endPort < port)) {
    const why = port === 0 ? "needs a port that is a number beside it" : `is below the port ${port}`;
    warnUnstorable(reading, `${path}.endPort`, `${endPort} ${why}: Kubernetes refuses it`);
  }
  return spread.map((number) => ({ protocol: number, name, port, endPort: (port > 0 || name !== "") && endPort > port ? endPort : 0 }));
}

/** A port by number or name; absent, every port. A number may be a text, spelled as in Cilium's own policies. */
function readPortNumber(reading: Reading, raw: unknown, path: string): { readonly name: string; readonly port: number } {
  if (raw === undefined || raw === null) return { name: "", port: 0 };
  if (typeof raw === "string" && isPortName(raw)) {
    if (raw !== raw.toLowerCase())
      warnUnstorable(reading, path, `"${raw}" has capitals: Kubernetes refuses it, and no pod's port has such a name`);
    return { name: raw, port: 0 };
  }
  const whole = typeof raw === "string" ? undefined : readInteger(reading, raw, path, -0x80000000, 0x7fffffff, [1, 0xffff]);
  const text = typeof raw === "string" ? raw : `${whole ?? 0}`;
  const number = parsePortNumber(text);
  if (number === undefined) {
    // Go's reader of numbers gives the largest for what is too large, and nothing, which is every port, for what is no number.
    const taken = /^[0-9]+$/.test(text) && !text.startsWith("0") ? 0xffff : 0;
    const meant = taken === 0 ? "every port" : taken;
    warnUnstorable(reading, path, `${JSON.stringify(raw)} is no port: Kubernetes refuses it, and Cilium's engine takes it as ${meant}`);
    return { name: "", port: taken };
  }
  const unquoted = "is a name for Kubernetes, which refuses names without letters: write the number without quotes";
  if (typeof raw === "string") warnUnstorable(reading, path, `"${raw}" ${unquoted}`);
  return { name: "", port: number };
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
  types.forEach((type, i) => {
    if (type === "Ingress" || type === "Egress") return;
    const hint = didYouMean(type, ["Ingress", "Egress"]);
    warnUnstorable(reading, `spec.policyTypes[${i}]`, `"${type}" is refused by Kubernetes; allowed are Ingress and Egress${hint}`);
  });
  const { kind, namespace, name } = policy;
  const subject = selectorOf(podsOf(reading, spec.podSelector, "spec.podSelector", namespace));
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
