import type { Selector } from "#labels/selector.ts";
import { selectorOf } from "#labels/selector.ts";
import { type Direction, directions } from "#types/direction.ts";
import { protocolNumber } from "#types/proto.ts";
import { anyPeer } from "../resolve/peer.ts";
import { type AuthType, type L7Rules, type PolicyRef, type PortRule, type Rule, type Section, tier } from "../rule.ts";
import { readIcmps } from "./icmp.ts";
import { readPeers } from "./peers.ts";
import { readPortRules } from "./ports.ts";
import {
  checkFields,
  didYouMean,
  type Fields,
  type Reading,
  readBoolean,
  readList,
  readObject,
  readObjects,
  readString,
  refuse,
  warn,
  warnPortability,
  warnUnstorable,
} from "./reading.ts";
import { isPresentList, readRequirements, readSubject } from "./selector.ts";

const sections: readonly Section[] = ["ingress", "ingressDeny", "egress", "egressDeny"];
const ruleFields = ["endpointSelector", "nodeSelector", ...sections, "labels", "description", "enableDefaultDeny", "log"];
const authModes: Readonly<Record<string, AuthType>> = { disabled: "disabled", required: "spire", "test-always-fail": "test-always-fail" };

type RuleScope = {
  readonly policy: PolicyRef;
  readonly spec: number;
  readonly subject: Selector;
  readonly forInit: boolean;
  readonly onNode: boolean;
  readonly defaultDeny: Readonly<Record<Direction, boolean>>;
  readonly log: string | undefined;
};

function directionOf(section: Section): Direction {
  return section.startsWith("ingress") ? "ingress" : "egress";
}

function readAuth(reading: Reading, value: unknown, path: string, deny: boolean): Pick<Rule, "auth" | "emptyAuth"> {
  if (deny) {
    if (value !== undefined && value !== null)
      warn(reading, path, "is ignored in a deny list, as in Cilium: the peers are denied, authenticated or not");
    return {};
  }
  const fields = readObject(reading, value, path);
  if (fields === undefined) return {};
  const mode = readString(reading, fields.mode, `${path}.mode`) ?? "";
  if (!Object.hasOwn(authModes, mode)) {
    const allowed = Object.keys(authModes);
    const ignored = "Cilium's engine ignores it and asks for nothing, a cluster's schema refuses it";
    warnUnstorable(reading, `${path}.mode`, `"${mode}" is not one of ${allowed.join(", ")}: ${ignored}${didYouMean(mode, allowed)}`);
    return { emptyAuth: mode };
  }
  return { auth: authModes[mode] };
}

const entryFields = {
  ingress: [
    "fromEndpoints",
    "fromCIDR",
    "fromCIDRSet",
    "fromEntities",
    "fromGroups",
    "fromNodes",
    "fromRequires",
    "toPorts",
    "icmps",
    "authentication",
  ],
  egress: [
    "toEndpoints",
    "toCIDR",
    "toCIDRSet",
    "toEntities",
    "toGroups",
    "toNodes",
    "toRequires",
    "toServices",
    "toFQDNs",
    "toPorts",
    "icmps",
    "authentication",
  ],
};

// What only allows have is ignored in denials, as in Cilium.
const deniedFields = { ...entryFields, egress: entryFields.egress.filter((field) => field !== "toFQDNs") };

const allDns: L7Rules = { http: [], dns: [{ matchPattern: "*" }], kafka: [] };

/** The DNS entity without ports means the DNS port; on egress, answers are learned there. */
function dnsPorts(learn: boolean): readonly PortRule[] {
  const ports = [protocolNumber.UDP, protocolNumber.TCP].map((protocol) => ({ protocol, name: "", port: 53, endPort: 0 }));
  return [{ ports, l7: learn ? allDns : undefined, serverNames: [] }];
}

function warnApiserver(reading: Reading, path: string, ports: readonly PortRule[] | null): void {
  const has = (port: number) => (ports ?? []).some((one) => one.ports.some((spec) => spec.port === port));
  if (has(443) && !has(6443)) {
    warnPortability(
      reading,
      `${path}.toPorts`,
      "kube-apiserver on 443 covers the API server's own port here too; elsewhere name that port (6443)",
    );
  }
}

function readEntry(reading: Reading, entry: Fields, path: string, section: Section, index: number, scope: RuleScope): Rule[] {
  const direction = directionOf(section);
  const deny = section.endsWith("Deny");
  const { kind, namespace, name } = scope.policy;
  checkFields(reading, entry, path, (deny ? deniedFields : entryFields)[direction]);
  const selectorScope = { namespace, clusterName: reading.settings.clusterName, forInit: scope.forInit };
  const { peers, services, named, dns, entity } = readPeers(
    reading,
    entry,
    path,
    { prefix: direction === "ingress" ? "from" : "to", deny },
    selectorScope,
  );
  const portScope = { section: direction, deny, onNode: scope.onNode, kind, namespace };
  const ports = readPortRules(reading, entry.toPorts, `${path}.toPorts`, portScope);
  const icmps = readIcmps(reading, entry.icmps, `${path}.icmps`);
  if (ports !== undefined && icmps !== undefined)
    refuse(reading, path, "icmps and toPorts can not stand in one rule; write one rule for each");
  const auth = readAuth(reading, entry.authentication, `${path}.authentication`, deny);
  const portRules = icmps === undefined ? (ports ?? null) : [{ ports: icmps, serverNames: [] }];
  const bare = portRules === null && !named;
  const allowsEgress = direction === "egress" && !deny;
  if (entity === "kube-apiserver" && allowsEgress) warnApiserver(reading, path, portRules);
  const rule: Rule = {
    policy: scope.policy,
    origin: { kind, namespace, name, section, index, spec: scope.spec },
    direction,
    action: deny ? "deny" : "allow",
    tier: tier.normal,
    priority: 0,
    order: 0,
    subject: scope.subject,
    onNode: scope.onNode,
    defaultDeny: scope.defaultDeny[direction],
    // An entry without peers means everybody, but an entry without anything means nobody.
    peers: named || bare ? peers : [anyPeer],
    services,
    ports: portRules,
    entity,
    ...auth,
    log: scope.log || undefined,
  };
  if (dns.length === 0) return [rule];
  // The entity has ports of its own, which those beside it do not have.
  const ofDns: Rule = { ...rule, peers: dns, services: [], ports: portRules ?? dnsPorts(allowsEgress), entity: "dns" };
  return peers.length > 0 || services.length > 0 ? [rule, ofDns] : [ofDns];
}

function readDefaultDeny(reading: Reading, value: unknown, path: string): Record<Direction, boolean> {
  const fields = readObject(reading, value, path) ?? {};
  checkFields(reading, fields, path, directions);
  const given = {
    ingress: readBoolean(reading, fields.ingress, `${path}.ingress`),
    egress: readBoolean(reading, fields.egress, `${path}.egress`),
  };
  if (!reading.settings.nonDefaultDenyPolicies) return { ingress: true, egress: true };
  return { ingress: given.ingress ?? true, egress: given.egress ?? true };
}

/** Cilium keeps a policy's own labels for its users; only their form is checked: any text, or an object with a key. */
function checkLabels(reading: Reading, value: unknown, path: string): void {
  readList(reading, value, path)?.forEach((one, i) => {
    const at = `${path}[${i}]`;
    const fields = typeof one === "string" ? { key: one } : (readObject(reading, one, at) ?? {});
    const [key] = ["key", "value", "source"].map((name) => readString(reading, (fields as Fields)[name], `${at}.${name}`));
    if ((key ?? "") === "") reading.issues.push({ path: at, message: "a label needs a key", stage: "decode" });
  });
}

/** The empty lists of a rule that has nothing else: our reading of `ingress: []` as default deny (SEMANTICS C1). */
function emptyRules(reading: Reading, spec: Fields, path: string, scope: RuleScope): Rule[] {
  const present = sections.filter((section) => isPresentList(reading, spec, section, path));
  if (present.length === 0 || !reading.settings.extensions) {
    const hint = `write "ingress: [{}]" or "egress: [{}]" to deny by default`;
    refuse(reading, path, `needs at least one of ${sections.join(", ")} with an entry; ${hint}`);
    return [];
  }
  for (const section of present)
    warnPortability(reading, `${path}.${section}`, "an empty list means default deny here, Cilium refuses the policy; write `- {}`");
  return [...new Set(present.map(directionOf))].flatMap((direction) => readEntry(reading, {}, `${path}.${direction}`, direction, 0, scope));
}

/** Reads one rule object: `spec` or an element of `specs`. */
export function readSpec(reading: Reading, spec: Fields, path: string, policy: PolicyRef, index: number): Rule[] {
  checkFields(reading, spec, path, ruleFields);
  // A null selector is one without conditions, as in Cilium, and not one that is absent.
  const hasNode = Object.hasOwn(spec, "nodeSelector");
  const hasEndpoint = Object.hasOwn(spec, "endpointSelector");
  if (hasNode && policy.namespace !== "") refuse(reading, `${path}.nodeSelector`, "is allowed in a CiliumClusterwideNetworkPolicy only");
  if (hasNode && hasEndpoint) {
    refuse(reading, path, "has both endpointSelector and nodeSelector; use one");
    readRequirements(reading, spec.endpointSelector, `${path}.endpointSelector`);
  }
  if (!hasNode && !hasEndpoint) {
    const where = policy.namespace === "" ? "endpointSelector or nodeSelector" : "endpointSelector";
    refuse(reading, path, `needs ${where}; write "endpointSelector: {}" to select every endpoint`);
  }
  const node = hasNode ? selectorOf(readRequirements(reading, spec.nodeSelector, `${path}.nodeSelector`)) : undefined;
  const subject =
    node === undefined
      ? readSubject(reading, spec.endpointSelector, `${path}.endpointSelector`, policy.namespace)
      : { selector: node, forInit: false };
  const log = readString(reading, readObject(reading, spec.log, `${path}.log`)?.value, `${path}.log.value`);
  if (log !== undefined && log.length > 32)
    warnUnstorable(reading, `${path}.log.value`, `has ${log.length} characters; a cluster's schema takes at most 32`);
  checkLabels(reading, spec.labels, `${path}.labels`);
  readString(reading, spec.description, `${path}.description`);
  const scope: RuleScope = {
    policy,
    spec: index,
    subject: subject.selector,
    forInit: subject.forInit,
    onNode: hasNode,
    defaultDeny: readDefaultDeny(reading, spec.enableDefaultDeny, `${path}.enableDefaultDeny`),
    log,
  };
  const rules = sections.flatMap((section) =>
    (readObjects(reading, spec[section], `${path}.${section}`) ?? []).flatMap((entry, i) =>
      readEntry(reading, entry, `${path}.${section}[${i}]`, section, i, scope),
    ),
  );
  return rules.length > 0 ? rules : emptyRules(reading, spec, path, scope);
}

/** Reads a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy. */
export function readCiliumPolicy(reading: Reading, object: Fields, policy: PolicyRef): Rule[] {
  const spec = readObject(reading, object.spec, "spec");
  const specs = readObjects(reading, object.specs, "specs");
  if (spec === undefined && specs === undefined) {
    refuse(reading, "spec", "is not there, and neither is specs: give one of them");
    return [];
  }
  return [
    ...(spec === undefined ? [] : readSpec(reading, spec, "spec", policy, 0)),
    ...(specs ?? []).flatMap((one, i) => readSpec(reading, one, `specs[${i}]`, policy, i)),
  ];
}
