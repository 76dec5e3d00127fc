import { parseIdentity } from "#identity/reserved.ts";
import { label, labelKey, parseLabel } from "#labels/label.ts";
import { labelSetOf } from "#labels/label-set.ts";
import { matches, requirement, selectorOf } from "#labels/selector.ts";
import { type IpAddress, parseAddress } from "#types/addr.ts";
import { reservedIdentity } from "#types/identity.ts";
import { parsePrefix, prefixHas } from "#types/prefix.ts";
import { didYouMean } from "../parse/reading.ts";
import { outsideParty } from "./outside.ts";
import { imaginedParty, type Party, podParties } from "./party.ts";
import type { WorldService } from "./services.ts";
import { namespaceLabels } from "./workload.ts";
import type { World, WorldNode } from "./world.ts";

/** Who a text means. Pods that differ for policies are parties of their own; a service stands for what is behind it. */
export type Found =
  | { readonly parties: readonly Party[]; readonly service?: WorldService | undefined; readonly notes: readonly string[] }
  | { readonly problem: string };

const entityNames = [
  "world",
  "host",
  "remote-node",
  "kube-apiserver",
  "health",
  "ingress",
  "init",
  "unmanaged",
  "world-ipv4",
  "world-ipv6",
];
const nodeNames = ["host", "remote-node", "kube-apiserver"];

/** How a party may be written, for messages and help. */
export const partyForms =
  "namespace/pod, namespace/workload, svc/namespace/service, namespace/key=value or key=value, an address, a block, a DNS name, or an entity such as world";

/** Finds who is meant by `namespace/pod`, a workload, a service, labels, an address, a block, a name or an entity. */
export function findParty(world: World, text: string): Found {
  const entity = text.replace(/^reserved:/, "");
  if (entityNames.includes(entity)) return entityParty(world, entity);
  const address = parseAddress(text);
  if (address !== undefined) return byAddress(world, address);
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return found(outsideParty(world, prefix, { prefix }));
  if (text.includes("=")) return byLabels(world, text);
  const misspelt = numberProblem(text);
  if (misspelt !== undefined) return { problem: misspelt };
  const parts = text.split("/");
  const [first = "", second = "", third] = parts;
  if (third !== undefined) return parts.length === 3 ? byKind(world, first, second, third) : { problem: unknown(text) };
  if (second !== "") return first === "node" ? byNode(world, second) : byName(world, first, second);
  return byBareName(world, first);
}

/** What looks like an address or a block is not taken for a name. */
function numberProblem(text: string): string | undefined {
  if (!/^(\d+(\.\d+)+|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*)(\/\d*)?$/i.test(text)) return undefined;
  return text.includes("/")
    ? `"${text}" is no address block: needed is one such as 10.0.0.0/8 or fd00::/64`
    : `"${text}" is no address: needed is one such as 10.0.0.7 (four numbers from 0 to 255) or fd00::7`;
}

const found = (...parties: Party[]): Found => ({ parties, notes: [] });
const unknown = (text: string) => `"${text}" is nobody; write ${partyForms}`;

function entityParty(world: World, entity: string): Found {
  if (entity === "world") return found(outsideParty(world, "world", {}));
  const identity = parseIdentity(entity) ?? reservedIdentity.unmanaged;
  if (nodeNames.includes(entity)) return found({ kind: "node", title: entity, node: undefined, identity });
  return found({ kind: "outside", title: entity, identity });
}

function byAddress(world: World, address: IpAddress): Found {
  const pods = world.endpoints.filter(({ addresses }) => addresses.includes(address));
  if (pods.length > 0) return found(...podParties(pods).map((one) => ({ ...one, address })));
  const node = world.nodes.find(({ addresses }) => addresses.includes(address));
  if (node !== undefined) return found({ ...nodeParty(node), address });
  const service = world.services.find(({ addresses }) => addresses.includes(address));
  if (service !== undefined) return byService(world, service);
  const inPods = world.nodes.find(({ podCidrs }) => podCidrs.some((text) => isIn(text, address)));
  const notes = inPods === undefined ? [] : [`${address} is in the pod CIDR of node ${inPods.name}, but no pod has it`];
  return { parties: [outsideParty(world, address, { address })], notes };
}

function isIn(text: string, address: IpAddress): boolean {
  const prefix = parsePrefix(text);
  return prefix !== undefined && prefixHas(prefix, address);
}

function nodeParty(node: WorldNode): Party {
  return { kind: "node", title: `node ${node.name}`, node, identity: undefined };
}

function byNode(world: World, name: string): Found {
  const node = world.nodes.find((one) => one.name === name);
  if (node !== undefined) return found(nodeParty(node));
  const names = world.nodes.map((one) => one.name);
  return { problem: `there is no node "${name}"${didYouMean(name, names)}` };
}

/** What is behind a service. */
export function byService(world: World, service: WorldService): Found {
  const { view, namespace, name } = service;
  const selector = Object.entries(view.selector ?? {});
  if (selector.length > 0) {
    const wanted = selectorOf(selector.map(([key, value]) => requirement(`k8s:${key}`, "In", [value])));
    // A service selects by all labels of a pod, not just by those of its identity.
    const pods = world.endpoints.filter((one) => one.namespace === namespace && matches(wanted, labelsOf(one.labels)));
    if (pods.length > 0) return { parties: podParties(pods), service, notes: [] };
    return { problem: `the service ${namespace}/${name} has no pods: nothing has the labels ${wanted.text}` };
  }
  const addresses = (view.endpoints ?? []).map(parseAddress).filter((one) => one !== undefined);
  if (addresses.length === 0) return { problem: `the service ${namespace}/${name} has no selector and no endpoints` };
  const each = addresses.map((address) => byAddress(world, address));
  return { parties: each.flatMap((one) => ("parties" in one ? one.parties : [])), service, notes: [] };
}

const labelsOf = (labels: Readonly<Record<string, string>>) => labelSetOf(Object.entries(labels).map(([key, value]) => label(key, value)));

function byKind(world: World, kind: string, namespace: string, name: string): Found {
  if (kind === "svc" || kind === "service") {
    const service = world.services.find((one) => one.namespace === namespace && one.name === name);
    if (service !== undefined) return byService(world, service);
    const names = world.services.filter((one) => one.namespace === namespace).map((one) => one.name);
    return { problem: `there is no service "${name}" in ${namespace}${didYouMean(name, names)}` };
  }
  const short: Readonly<Record<string, string>> = {
    deploy: "deployment",
    sts: "statefulset",
    ds: "daemonset",
    po: "pod",
    rs: "replicaset",
  };
  const wanted = short[kind] ?? kind.toLowerCase();
  const pods = world.endpoints.filter((one) => one.namespace === namespace);
  const ofPod = wanted === "pod" ? pods.filter((one) => one.name === name) : [];
  const ofWorkload = pods.filter(({ workload }) => workload.kind.toLowerCase() === wanted && workload.name === name);
  const chosen = ofPod.length > 0 ? ofPod : ofWorkload;
  return chosen.length > 0 ? found(...podParties(chosen)) : { problem: `there is no ${kind} "${name}" with pods in ${namespace}` };
}

function byName(world: World, namespace: string, name: string): Found {
  const pods = world.endpoints.filter((one) => one.namespace === namespace);
  const named = pods.filter((one) => one.name === name);
  const chosen = named.length > 0 ? named : pods.filter(({ workload }) => workload.name === name);
  if (chosen.length > 0) return found(...podParties(chosen));
  const onHost = world.hostPods.find((one) => one.namespace === namespace && (one.name === name || one.workload.name === name));
  if (onHost !== undefined) return hostPod(world, onHost.node, `${namespace}/${name}`);
  const service = world.services.find((one) => one.namespace === namespace && one.name === name);
  if (service !== undefined) return byService(world, service);
  const known = [...new Set(pods.flatMap((one) => [one.name, one.workload.name]))];
  if (known.length > 0) return { problem: `there is no pod, workload or service "${name}" in ${namespace}${didYouMean(name, known)}` };
  const namespaces = [...new Set(world.endpoints.map((one) => one.namespace))];
  return { problem: `there are no pods in namespace "${namespace}"${didYouMean(namespace, namespaces)}` };
}

function hostPod(world: World, nodeName: string, title: string): Found {
  const node = world.nodes.find((one) => one.name === nodeName);
  const party: Party = { kind: "node", title, node, identity: node === undefined ? reservedIdentity.remoteNode : undefined };
  return { parties: [party], notes: [`${title} is in the host network: to policies it is its node`] };
}

/** `key=value,…`, in a namespace when one is written before: the pods that have them all, else a pod as it would be. */
function byLabels(world: World, text: string): Found {
  const slash = text.indexOf("/");
  // `app.kubernetes.io/name=web` has a slash of its own, but no namespace has a dot.
  const hasNamespace = slash > 0 && slash < text.indexOf("=") && !/[.:]/.test(text.slice(0, slash));
  const namespace = hasNamespace ? text.slice(0, slash) : "";
  const words = (hasNamespace ? text.slice(slash + 1) : text).split(",").filter((word) => word !== "");
  const labels = words.map(parseLabel).map(({ source, key, value }) => ({ source: source === "unspec" ? "k8s" : source, key, value }));
  const own = namespace === "" ? [] : [label(labelKey.namespace, namespace)];
  const wanted = selectorOf([...own, ...labels].map(({ source, key, value }) => requirement(`${source}:${key}`, "In", [value])));
  const pods = world.endpoints.filter((one) => matches(wanted, one.identityLabels));
  if (pods.length > 0) return found(...podParties(pods));
  const all = labelSetOf([...own, ...labels]);
  const of = all.get("k8s", labelKey.namespace)?.value;
  if (of === undefined) return { problem: `no pod has the labels ${text}; for a pod that is not there yet write namespace/${text}` };
  const more = [
    label(labelKey.cluster, world.settings.clusterName),
    label(labelKey.serviceAccount, "default"),
    ...Object.entries(namespaceLabels(world.namespaces, of)).map(([key, value]) => label(`${labelKey.namespaceLabels}.${key}`, value)),
  ];
  return {
    parties: [imaginedParty(world, labelSetOf([...more, ...all.labels]))],
    notes: [`no pod has the labels ${text}: taken as one that may come`],
  };
}

function byBareName(world: World, name: string): Found {
  const pods = world.endpoints.filter((one) => one.name === name || one.workload.name === name);
  const namespaces = [...new Set(pods.map((one) => one.namespace))];
  if (namespaces.length === 1) return found(...podParties(pods));
  if (namespaces.length > 1) return { problem: `"${name}" is in ${namespaces.join(" and ")}; write ${namespaces[0]}/${name}` };
  if (!name.includes(".")) return { problem: unknown(name) };
  const [service = "", namespace = "", ...rest] = name.replace(/\.$/, "").split(".");
  const isClusterName = rest.length === 0 || rest[0] === "svc";
  const own = isClusterName ? world.services.find((one) => one.namespace === namespace && one.name === service) : undefined;
  return own === undefined ? byDnsName(world, name) : byService(world, own);
}

/** A name outside: whoever asks for it learns its addresses, which then have the labels of all selectors that take the name. */
function byDnsName(world: World, name: string): Found {
  return /^[-a-zA-Z0-9_.]+$/.test(name) ? found(outsideParty(world, name, { name })) : { problem: unknown(name) };
}
