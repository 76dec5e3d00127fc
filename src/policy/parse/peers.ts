import { type FqdnSelector, validateFqdn } from "#fqdn/pattern.ts";
import { labelKey } from "#labels/label.ts";
import { type Requirement, requirement, selectorOf } from "#labels/selector.ts";
import { parseAddress } from "#types/addr.ts";
import { type Prefix, parsePrefix, prefixHas, prefixParts } from "#types/prefix.ts";
import { cidrPeer, dnsPeer, entities, entityPeers, fqdnPeer, labelPeer, noPeer } from "../resolve/peer.ts";
import type { PeerSelector, Rule, ServiceReference } from "../rule.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readList,
  readObject,
  readObjects,
  readString,
  readStrings,
  refuse,
  warn,
  warnPortability,
  warnUnstorable,
} from "./reading.ts";
import { readRequirements, type SelectorScope, withCluster, withImplied } from "./selector.ts";

/** The peers of one rule entry; `named` tells whether the entry names peers at all (an empty list does). */
export type Peers = {
  readonly peers: readonly PeerSelector[];
  readonly services: readonly ServiceReference[];
  readonly named: boolean;
  /** The peers of the entity `dns`, which is not among `peers`: it brings its own ports. */
  readonly dns: readonly PeerSelector[];
  readonly entity: Rule["entity"];
};

/** What is found while the lists of an entry are read. */
type Found = { readonly peers: PeerSelector[]; readonly dns: PeerSelector[]; entity: Rule["entity"] };

/** Reads an address block; host bits are dropped, a bare address is refused. */
export function readPrefix(reading: Reading, text: string, path: string): Prefix | undefined {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  const bits = mappedBits(text);
  // Its network address is that of the block with as many bits of ::ffff:0:0.
  if (bits !== undefined && bits < 96) return parsePrefix(`::${((0xffff << (96 - bits)) & 0xffff).toString(16)}:0:0/${bits}`);
  if (bits !== undefined) {
    const written = "is a block of IPv6 for Cilium, and no address of IPv4 is in it: it selects nobody; write the block as IPv4's";
    warn(reading, path, `"${text}" ${written}`);
    return undefined;
  }
  const address = parseAddress(text);
  const hint = address === undefined ? "" : `; for the one address write ${address}/${address.includes(":") ? 128 : 32}`;
  refuse(reading, path, `"${text}" is not an address block such as 10.0.0.0/8 or fd00::/64${hint}`);
  return undefined;
}

/** The length of a block around an IPv4-mapped address, such as `::ffff:10.0.0.0/104`; undefined for any other text. */
function mappedBits(text: string): number | undefined {
  const [, address = "", length] = /^(.*:.*)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const read = parseAddress(address);
  return read !== undefined && !read.includes(":") && Number(length) <= 128 ? Number(length) : undefined;
}

/** Reads the exceptions from a block: each must be inside, by its address as written. One that is all of it is legal, and leaves nothing. */
export function readExcept(reading: Reading, value: unknown, path: string, within: Prefix | undefined): Prefix[] {
  const except: Prefix[] = [];
  readStrings(reading, value, path)?.forEach((text, i) => {
    const prefix = readPrefix(reading, text, `${path}[${i}]`);
    if (prefix !== undefined) except.push(prefix);
    const foreign = prefix === undefined && mappedBits(text) !== undefined && within?.includes(":") === false;
    if (foreign || (prefix !== undefined && within !== undefined && !isInside(prefix, text, within)))
      refuse(reading, `${path}[${i}]`, `${prefix ?? text} is not inside ${within}, so it can not be an exception from it`);
  });
  return except;
}

/** Whether an exception is in its block: by its address as written, which may have host bits. */
function isInside(prefix: Prefix, text: string, within: Prefix): boolean {
  const { address, bits } = prefixParts(prefix);
  const written = mappedBits(text) === undefined ? parseAddress(text.slice(0, text.indexOf("/"))) : undefined;
  return bits >= prefixParts(within).bits && prefixHas(within, written ?? address);
}

function readCidrSets(reading: Reading, value: unknown, path: string): PeerSelector[] {
  return (readObjects(reading, value, path) ?? []).flatMap((one, i) => readCidrSet(reading, one, `${path}[${i}]`));
}

function readCidrSet(reading: Reading, one: Fields, path: string): readonly PeerSelector[] {
  checkFields(reading, one, path, ["cidr", "cidrGroupRef", "cidrGroupSelector", "except"]);
  const cidr = readString(reading, one.cidr, `${path}.cidr`) ?? "";
  const group = readString(reading, one.cidrGroupRef, `${path}.cidrGroupRef`) ?? "";
  // A null selector is an empty one, as in Cilium.
  const selector = one.cidrGroupSelector === null ? {} : readObject(reading, one.cidrGroupSelector, `${path}.cidrGroupSelector`);
  const given = [cidr !== "", group !== "", selector !== undefined].filter(Boolean).length;
  if (given !== 1) {
    refuse(reading, path, `needs exactly one of cidr, cidrGroupRef and cidrGroupSelector, found ${given}`);
    // What does not fit the types is said as well.
    readStrings(reading, one.except, `${path}.except`);
    readRequirements(reading, selector, `${path}.cidrGroupSelector`, "cidrgroup");
    return [];
  }
  if (cidr !== "") {
    const prefix = readPrefix(reading, cidr, `${path}.cidr`);
    const except = readExcept(reading, one.except, `${path}.except`, prefix);
    return prefix === undefined ? [] : [cidrPeer(prefix, except, reading.settings)];
  }
  const except = readExcept(reading, one.except, `${path}.except`, undefined);
  if (group !== "") return [labelPeer([groupNamed(group)], except)];
  return cidrGroupPeers(reading, selector, `${path}.cidrGroupSelector`, except);
}

const groupNamed = (name: string) => ({
  source: "cidrgroup",
  key: `${labelKey.cidrGroupName}/${name}`,
  operator: "Exists" as const,
  values: [],
});

/** A block's groups may disagree about a key, so `key=value` of a group is the label `key+value` of its blocks. */
function cidrGroupPeers(reading: Reading, selector: Fields | undefined, path: string, except: readonly Prefix[]): PeerSelector[] {
  const exists = (key: string, operator: "Exists" | "DoesNotExist"): Requirement => ({ source: "cidrgroup", key, operator, values: [] });
  let alternatives: Requirement[][] = [[]];
  for (const one of readRequirements(reading, selector, path, "cidrgroup")) {
    const keys = one.values.map((value) => `${one.key}+${value}`);
    if (one.operator === "In") alternatives = alternatives.flatMap((all) => keys.map((key) => [...all, exists(key, "Exists")]));
    else if (one.operator === "NotIn")
      alternatives = alternatives.map((all) => [...all, ...keys.map((key) => exists(key, "DoesNotExist"))]);
    else alternatives = alternatives.map((all) => [...all, one]);
  }
  // An empty selector means all groups; a negative one, whatever is outside. Neither may select pods.
  return alternatives.map((requirements) => {
    const peer = labelPeer(requirements, except);
    const limit = requirements.length === 0 ? { source: "cidrgroup" } : { outside: true };
    return { ...peer, text: `cidrgroup:${peer.text}`, ...limit };
  });
}

function readFqdns(reading: Reading, value: unknown, path: string): PeerSelector[] {
  return (readObjects(reading, value, path) ?? []).map((one, i) => {
    checkFields(reading, one, `${path}[${i}]`, ["matchName", "matchPattern"]);
    const fqdn: FqdnSelector = {
      matchName: readString(reading, one.matchName, `${path}[${i}].matchName`),
      matchPattern: readString(reading, one.matchPattern, `${path}[${i}].matchPattern`),
    };
    for (const problem of validateFqdn(fqdn, true)) refuse(reading, `${path}[${i}]`, problem);
    if ((fqdn.matchName ?? "") !== "" && (fqdn.matchPattern ?? "") !== "")
      refuse(reading, `${path}[${i}]`, "has both matchName and matchPattern; use one");
    return fqdnPeer(fqdn);
  });
}

/** A reference without a namespace looks in all of them, as in Cilium. */
function readServices(reading: Reading, value: unknown, path: string): ServiceReference[] {
  return (readObjects(reading, value, path) ?? []).flatMap((one, i) => {
    const at = `${path}[${i}]`;
    checkFields(reading, one, at, ["k8sService", "k8sServiceSelector"]);
    const references: ServiceReference[] = [];
    // Of the two the selector counts, as in Cilium.
    const named = readObject(reading, one.k8sService, `${at}.k8sService`);
    const selected = readObject(reading, one.k8sServiceSelector, `${at}.k8sServiceSelector`);
    if (named !== undefined) {
      checkFields(reading, named, `${at}.k8sService`, ["serviceName", "namespace"]);
      const namespace = readString(reading, named.namespace, `${at}.k8sService.namespace`) ?? "";
      const name = readString(reading, named.serviceName, `${at}.k8sService.serviceName`) ?? "";
      if (selected === undefined) references.push({ namespace, name });
    }
    if (selected !== undefined) {
      // Cilium does not check this selector; what it can not mean selects nothing.
      const unchecked: Reading = { ...reading, issues: [] };
      const selector = readRequirements(unchecked, selected.selector, `${at}.k8sServiceSelector.selector`);
      reading.issues.push(...unchecked.issues.filter(({ stage }) => stage === "decode"));
      references.push({
        namespace: readString(reading, selected.namespace, `${at}.k8sServiceSelector.namespace`) ?? "",
        selector: selectorOf(selector),
      });
    }
    return references;
  });
}

function readEntities(reading: Reading, value: unknown, path: string, _scope: SelectorScope, found: Found): PeerSelector[] {
  const { extensions } = reading.settings;
  return (readStrings(reading, value, path) ?? []).flatMap((entity, i) => {
    if (entity === "dns" && extensions) {
      found.dns.push(dnsPeer(reading.settings));
      warnPortability(
        reading,
        `${path}[${i}]`,
        'the entity "dns" is Cilia\'s own; `cilium policy export --portable` writes what Cilium accepts',
      );
      return [];
    }
    if (entity === "kube-apiserver") found.entity = "kube-apiserver";
    if ((entities as readonly string[]).includes(entity)) return entityPeers(entity, reading.settings);
    const allowed = extensions ? [...entities, "dns"] : entities;
    refuse(
      reading,
      `${path}[${i}]`,
      `"${entity}" is not an entity; allowed are ${allowed.join(", ")}${didYouMean(entity.replace(/^reserved:/, ""), allowed)}`,
    );
    return [];
  });
}

/** The engine takes groups of cloud providers, as Cilium's does, but nobody here asks a provider who is in them: a cluster refuses them. */
function readGroups(reading: Reading, value: unknown, path: string): PeerSelector[] {
  const groups = readObjects(reading, value, path) ?? [];
  groups.forEach((one, i) => {
    const aws = readObject(reading, one.aws, `${path}[${i}].aws`) ?? {};
    const labels = readObject(reading, aws.labels, `${path}[${i}].aws.labels`) ?? {};
    for (const [key, label] of Object.entries(labels)) readString(reading, label, `${path}[${i}].aws.labels["${key}"]`);
    for (const name of ["securityGroupsIds", "securityGroupsNames"]) readStrings(reading, aws[name], `${path}[${i}].aws.${name}`);
    readString(reading, aws.region, `${path}[${i}].aws.region`);
  });
  if (groups.length > 0) {
    const instead = "name the addresses in a CiliumCIDRGroup and select that with cidrGroupRef or cidrGroupSelector in a CIDRSet";
    warnUnstorable(reading, path, `would select nobody: groups of cloud providers are not looked up; ${instead}`);
  }
  return groups.map(() => noPeer);
}

function readEndpoints(reading: Reading, value: unknown, path: string, scope: SelectorScope): PeerSelector[] {
  const selectors = readObjects(reading, value, path) ?? [];
  return selectors.map((one, i) => labelPeer(withImplied(readRequirements(reading, one, `${path}[${i}]`), scope)));
}

function readCidrs(reading: Reading, value: unknown, path: string): PeerSelector[] {
  return (readStrings(reading, value, path) ?? []).flatMap((text, i) => {
    const read = readPrefix(reading, text, `${path}[${i}]`);
    return read === undefined ? [] : [cidrPeer(read, [], reading.settings)];
  });
}

/** A list of peers that an entry may have; an empty one that `closes` means nobody, whatever stands beside it. */
type PeerList = {
  readonly name: string;
  readonly closes: boolean;
  read(reading: Reading, value: unknown, path: string, scope: SelectorScope, found: Found): readonly PeerSelector[];
};

const listsOf = (prefix: "from" | "to"): PeerList[] => [
  { name: `${prefix}Endpoints`, closes: true, read: readEndpoints },
  { name: `${prefix}CIDR`, closes: true, read: readCidrs },
  { name: `${prefix}CIDRSet`, closes: true, read: readCidrSets },
  { name: `${prefix}Entities`, closes: true, read: readEntities },
  { name: `${prefix}Nodes`, closes: true, read: readNodes },
  { name: `${prefix}Groups`, closes: false, read: readGroups },
];
const fromLists = listsOf("from");
const deniedToLists = listsOf("to");
const toLists: readonly PeerList[] = [...deniedToLists, { name: "toFQDNs", closes: false, read: readFqdns }];

/** Reads these lists of an entry into `found`, and gives the names of those that are there, and of those that name somebody. */
function readLists(reading: Reading, lists: readonly PeerList[], entry: Fields, path: string, scope: SelectorScope, found: Found) {
  const present: string[] = [];
  const used: string[] = [];
  let closed: string | undefined;
  for (const { name, closes, read } of lists) {
    const value = entry[name];
    if (value === undefined || value === null) continue;
    present.push(name);
    found.peers.push(...read(reading, value, `${path}.${name}`, scope, found));
    if (!Array.isArray(value)) continue;
    if (value.length > 0) used.push(name);
    else if (closes) closed ??= name;
  }
  if (closed !== undefined && used.length > 0) {
    warn(reading, `${path}.${closed}`, `an empty list beside ${used.join(" and ")} means nobody, as in Cilium; take it out`);
    found.peers.length = 0;
    found.dns.length = 0;
  }
  return { present, used };
}

/** Reads the peers of one entry of `ingress` (prefix `from`) or `egress` (prefix `to`); a denial has no names. */
export function readPeers(
  reading: Reading,
  entry: Fields,
  path: string,
  { prefix, deny }: { readonly prefix: "from" | "to"; readonly deny: boolean },
  scope: SelectorScope,
): Peers {
  const lists = prefix === "from" ? fromLists : deny ? deniedToLists : toLists;
  const found: Found = { peers: [], dns: [], entity: undefined };
  const { present, used } = readLists(reading, lists, entry, path, scope, found);
  let services: readonly ServiceReference[] = [];
  if (prefix === "to") {
    services = readServices(reading, entry.toServices, `${path}.toServices`);
    if (Array.isArray(entry.toServices)) {
      present.push("toServices");
      if (entry.toServices.length > 0) used.push("toServices");
    }
  }
  if (used.length > 1) refuse(reading, path, `${used.join(" and ")} can not stand in one rule; write one rule for each`);
  const requires = prefix === "to" ? "toRequires" : "fromRequires";
  readRequires(reading, entry[requires], `${path}.${requires}`);
  return { ...found, services, named: present.length > 0 };
}

/** Requirements were removed from Cilium; what is left of them is a list of texts that nobody reads, and that no API server stores. */
function readRequires(reading: Reading, value: unknown, path: string): void {
  const instead = `was removed from Cilium: put the labels into the selectors of ${path.endsWith("fromRequires") ? "from" : "to"}Endpoints`;
  readList(reading, value, path)?.forEach((one, i) => {
    const at = `${path}[${i}]`;
    if (one === null || typeof one === "string") warnUnstorable(reading, at, `${instead}; a text here is ignored`);
    else reading.issues.push({ path: at, message: `${instead}; Cilium refuses the policy`, stage: "decode" });
  });
}

/** Remote nodes by their labels; the local cluster's unless the selector names one. */
export function nodePeer(requirements: readonly Requirement[], clusterName: string): PeerSelector {
  return labelPeer([...withCluster(requirements, clusterName), requirement("reserved:remote-node", "Exists")]);
}

function readNodes(reading: Reading, value: unknown, path: string, scope: SelectorScope): PeerSelector[] {
  const nodes = readObjects(reading, value, path) ?? [];
  if (nodes.length > 0 && !reading.settings.nodeSelectorLabels)
    refuse(reading, path, 'needs the agent setting "enable-node-selector-labels"');
  return nodes.map((one, i) => nodePeer(readRequirements(reading, one, `${path}[${i}]`), scope.clusterName));
}
