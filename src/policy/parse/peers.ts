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

type PeerReader = { readonly field: string; read(value: unknown, path: string): readonly PeerSelector[] };

/** Reads an address block; host bits are dropped, a bare address is refused. */
export function readPrefix(reading: Reading, text: string, path: string): Prefix | undefined {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)\/(\d+)$/i.exec(text);
  const prefix = parsePrefix(mapped === null || Number(mapped[2]) < 96 ? text : `${mapped[1]}/${Number(mapped[2]) - 96}`);
  if (prefix !== undefined) return prefix;
  const address = parseAddress(text);
  const hint = address === undefined ? "" : `; for the one address write ${address}/${address.includes(":") ? 128 : 32}`;
  refuse(reading, path, `"${text}" is not an address block such as 10.0.0.0/8 or fd00::/64${hint}`);
  return undefined;
}

/** Reads the exceptions from a block: each must be inside, by its address as written. One that is all of it is legal, and leaves nothing. */
export function readExcept(reading: Reading, value: unknown, path: string, within: Prefix | undefined): Prefix[] {
  const except: Prefix[] = [];
  readStrings(reading, value, path)?.forEach((text, i) => {
    const prefix = readPrefix(reading, text, `${path}[${i}]`);
    if (prefix === undefined) return;
    except.push(prefix);
    const address = parseAddress(text.slice(0, text.indexOf("/"))) ?? prefixParts(prefix).address;
    if (within === undefined) return;
    if (prefixParts(prefix).bits < prefixParts(within).bits || !prefixHas(within, address))
      refuse(reading, `${path}[${i}]`, `${prefix} is not inside ${within}, so it can not be an exception from it`);
  });
  return except;
}

function readCidrSet(reading: Reading, one: Fields, path: string): readonly PeerSelector[] {
  checkFields(reading, one, path, ["cidr", "cidrGroupRef", "cidrGroupSelector", "except"]);
  const cidr = readString(reading, one.cidr, `${path}.cidr`) ?? "";
  const group = readString(reading, one.cidrGroupRef, `${path}.cidrGroupRef`) ?? "";
  const selector = readObject(reading, one.cidrGroupSelector, `${path}.cidrGroupSelector`);
  const given = [cidr !== "", group !== "", selector !== undefined].filter(Boolean).length;
  if (given !== 1) {
    refuse(reading, path, `needs exactly one of cidr, cidrGroupRef and cidrGroupSelector, found ${given}`);
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
    const named = readObject(reading, one.k8sService, `${at}.k8sService`);
    if (named !== undefined) {
      checkFields(reading, named, `${at}.k8sService`, ["serviceName", "namespace"]);
      references.push({
        namespace: readString(reading, named.namespace, `${at}.k8sService.namespace`) ?? "",
        name: readString(reading, named.serviceName, `${at}.k8sService.serviceName`) ?? "",
      });
    }
    const selected = readObject(reading, one.k8sServiceSelector, `${at}.k8sServiceSelector`);
    if (selected !== undefined) {
      // Cilium does not check this selector; what it can not mean selects nothing.
      const unchecked: Reading = { ...reading, issues: [] };
      references.push({
        namespace: readString(reading, selected.namespace, `${at}.k8sServiceSelector.namespace`) ?? "",
        selector: selectorOf(readRequirements(unchecked, selected.selector, `${at}.k8sServiceSelector.selector`)),
      });
    }
    return references;
  });
}

function readEntities(reading: Reading, value: unknown, path: string): Pick<Peers, "dns" | "entity"> & { peers: PeerSelector[] } {
  let special: Rule["entity"];
  const dns: PeerSelector[] = [];
  const peers = (readStrings(reading, value, path) ?? []).flatMap((entity, i) => {
    if (entity === "dns" && reading.settings.extensions) {
      dns.push(dnsPeer(reading.settings));
      warnPortability(
        reading,
        `${path}[${i}]`,
        'the entity "dns" is Cilia\'s own; `cilium policy export --portable` writes what Cilium accepts',
      );
      return [];
    }
    if (entity === "kube-apiserver") special = "kube-apiserver";
    if ((entities as readonly string[]).includes(entity)) return entityPeers(entity, reading.settings);
    const allowed = reading.settings.extensions ? [...entities, "dns"] : entities;
    refuse(
      reading,
      `${path}[${i}]`,
      `"${entity}" is not an entity; allowed are ${allowed.join(", ")}${didYouMean(entity.replace(/^reserved:/, ""), allowed)}`,
    );
    return [];
  });
  return { peers, dns, entity: special };
}

/** The engine takes groups of cloud providers, as Cilium's does, but nobody here asks a provider who is in them: a cluster refuses them. */
function readGroups(reading: Reading, value: unknown, path: string): PeerSelector[] {
  const groups = readObjects(reading, value, path) ?? [];
  if (groups.length > 0) {
    const instead = "name the addresses in a CiliumCIDRGroup and select that with cidrGroupRef or cidrGroupSelector in a CIDRSet";
    warnUnstorable(reading, path, `would select nobody: groups of cloud providers are not looked up; ${instead}`);
  }
  return groups.map(() => noPeer);
}

/** The fields whose empty list means nobody, whatever stands beside it. */
const closingFields = ["Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes"];

/** Reads the peers of one entry of `ingress` (prefix `from`) or `egress` (prefix `to`); a denial has no names. */
export function readPeers(
  reading: Reading,
  entry: Fields,
  path: string,
  { prefix, deny }: { readonly prefix: "from" | "to"; readonly deny: boolean },
  scope: SelectorScope,
): Peers {
  const { settings } = reading;
  let entity: Rule["entity"];
  let dns: readonly PeerSelector[] = [];
  const readers: PeerReader[] = [
    {
      field: "Endpoints",
      read: (value, at) =>
        (readObjects(reading, value, at) ?? []).map((one, i) =>
          labelPeer(withImplied(readRequirements(reading, one, `${at}[${i}]`), scope)),
        ),
    },
    {
      field: "CIDR",
      read: (value, at) =>
        (readStrings(reading, value, at) ?? []).flatMap((text, i) => {
          const read = readPrefix(reading, text, `${at}[${i}]`);
          return read === undefined ? [] : [cidrPeer(read, [], settings)];
        }),
    },
    {
      field: "CIDRSet",
      read: (value, at) => (readObjects(reading, value, at) ?? []).flatMap((one, i) => readCidrSet(reading, one, `${at}[${i}]`)),
    },
    {
      field: "Entities",
      read: (value, at) => {
        const read = readEntities(reading, value, at);
        ({ entity, dns } = read);
        return read.peers;
      },
    },
    { field: "Nodes", read: (value, at) => readNodes(reading, value, at, scope) },
    { field: "Groups", read: (value, at) => readGroups(reading, value, at) },
  ];
  if (prefix === "to" && !deny) readers.push({ field: "FQDNs", read: (value, at) => readFqdns(reading, value, at) });

  const used: string[] = [];
  let peers: PeerSelector[] = [];
  let named = false;
  for (const { field, read } of readers) {
    const name = `${prefix}${field}`;
    if (entry[name] === undefined || entry[name] === null) continue;
    named = true;
    peers.push(...read(entry[name], `${path}.${name}`));
    if (Array.isArray(entry[name]) && entry[name].length > 0) used.push(name);
  }
  const closing = closingFields.map((field) => `${prefix}${field}`).filter((name) => Array.isArray(entry[name]) && !used.includes(name));
  if (closing.length > 0 && used.length > 0) {
    warn(reading, `${path}.${closing[0]}`, `an empty list beside ${used.join(" and ")} means nobody, as in Cilium; take it out`);
    [peers, dns] = [[], []];
  }
  const services = prefix === "to" ? readServices(reading, entry.toServices, `${path}.toServices`) : [];
  if (prefix === "to" && Array.isArray(entry.toServices)) {
    named = true;
    if (entry.toServices.length > 0) used.push("toServices");
  }
  if (used.length > 1) refuse(reading, path, `${used.join(" and ")} can not stand in one rule; write one rule for each`);
  readRequires(reading, entry[`${prefix}Requires`], `${path}.${prefix}Requires`);
  return { peers, services, named, dns, entity };
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
