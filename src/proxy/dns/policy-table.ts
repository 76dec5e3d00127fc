import { type FqdnSelector, fqdnLabelKey, fqdnMatcher, normalizeName } from "#fqdn/pattern.ts";
import type { Peer } from "../peer.ts";
import type { AccessDenial, RuleOrigin } from "../protocol.ts";
import { type AddressKey, keyOfAddress } from "./address.ts";
import type { DnsEndpoint, DnsPolicyMessage, DnsPort, DnsRule } from "./protocol.ts";

/** What the policy says about a question. */
export type DnsDecision =
  /** `audited`: only because of audit mode. */
  | { readonly allowed: true; readonly origins: readonly RuleOrigin[]; readonly audited?: AccessDenial }
  | { readonly allowed: false; readonly denied: AccessDenial };

export interface DnsEndpointRules {
  readonly endpoint: DnsEndpoint;
  /** Undefined: the port is not redirected, nothing may be asked there. */
  port(port: number, protocol: number): DnsPortRules | undefined;
}

export interface DnsPortRules {
  /** `server`: its own identity, then those of the names that the endpoint knows it by; `name` in lower case with its final dot. */
  decide(server: Peer, name: string): DnsDecision;
}

/** Who may ask whom for what. Before the first policy nobody may. */
export interface DnsPolicyTable {
  readonly revision: number;
  readonly endpoints: readonly DnsEndpoint[];
  endpoint(address: AddressKey): DnsEndpointRules | undefined;
}

/** The table of a policy. Endpoints with equal rules share what is compiled. */
export function compileDnsPolicy(policy: DnsPolicyMessage | undefined): DnsPolicyTable {
  const shared = new Map<string, DnsPortRules>();
  const compile = (ports: readonly DnsPort[], audited: readonly DnsPort[]): DnsPortRules => {
    const key = JSON.stringify([ports, audited]);
    const rules = shared.get(key) ?? auditedRules(ports, audited);
    shared.set(key, rules);
    return rules;
  };
  const byAddress = new Map<AddressKey, DnsEndpointRules>();
  for (const endpoint of policy?.endpoints ?? []) {
    const rules = endpointRules(endpoint, compile);
    for (const ip of endpoint.ips) byAddress.set(keyOfAddress(ip), rules);
  }
  return { revision: policy?.revision ?? 0, endpoints: policy?.endpoints ?? [], endpoint: (address) => byAddress.get(address) };
}

function endpointRules(
  endpoint: DnsEndpoint,
  compile: (ports: readonly DnsPort[], audited: readonly DnsPort[]) => DnsPortRules,
): DnsEndpointRules {
  const known = new Map<number, DnsPortRules | undefined>();
  return {
    endpoint,
    port(port, protocol) {
      const key = port * 256 + protocol;
      if (known.has(key)) return known.get(key);
      const isHere = (one: DnsPort) => one.port === port && (one.protocol === 0 || one.protocol === protocol);
      const [mine, audited] = [endpoint.ports.filter(isHere), (endpoint.audit ?? []).filter(isHere)];
      const rules = mine.length + audited.length === 0 ? undefined : compile(mine, audited);
      known.set(key, rules);
      return rules;
    },
  };
}

const EVERY_NAME: DnsRule = { identities: null, names: null, origins: [] };

/** What `ports` allow, and the audited ones would not, passes and is reported. Ports that only the audited have are open. */
function auditedRules(ports: readonly DnsPort[], audited: readonly DnsPort[]): DnsPortRules {
  const inForce = portRules(ports.length === 0 ? [EVERY_NAME] : ports.flatMap(({ rules }) => rules));
  if (audited.length === 0) return inForce;
  const would = portRules(audited.flatMap(({ rules }) => rules));
  return {
    decide(server, name) {
      const decision = inForce.decide(server, name);
      const other = decision.allowed ? would.decide(server, name) : decision;
      return decision.allowed && !other.allowed ? { ...decision, audited: other.denied } : decision;
    },
  };
}

/** Decisions that are remembered for each port: the same few names are asked again and again. */
const REMEMBERED = 4096;

function portRules(rules: readonly DnsRule[]): DnsPortRules {
  const compiled = rules.map((rule) => ({ ...rule, allows: nameTest(rule.names) }));
  const remembered = new Map<string, DnsDecision>();
  const judge = (server: Peer, name: string): DnsDecision => {
    const rule = compiled.find((one) => isAbout(one, server) && one.allows(name));
    return rule === undefined ? { allowed: false, denied: denialOf(rules, server, name) } : { allowed: true, origins: rule.origins };
  };
  return {
    decide(server, name) {
      const key = `${server.length === 1 ? server[0] : server.join(",")} ${name}`;
      const found = remembered.get(key);
      if (found !== undefined) return found;
      const decision = judge(server, name);
      if (remembered.size >= REMEMBERED) remembered.clear();
      remembered.set(key, decision);
      return decision;
    },
  };
}

/** Whether a rule is about a server: by itself, or by one of its names. */
function isAbout({ identities }: DnsRule, server: Peer): boolean {
  return identities === null || server.some((identity) => identities.includes(identity));
}

/** Whole names by a set, patterns one after the other; a rule may have both. `*` is every name, whatever characters it has: services are found by names with spaces. */
export function nameTest(selectors: readonly FqdnSelector[] | null): (name: string) => boolean {
  const patterns = (selectors ?? []).flatMap(({ matchPattern = "" }) => (matchPattern === "" ? [] : [matchPattern]));
  if (selectors === null || patterns.some((one) => /^\*+\.?$/.test(one.trim()))) return () => true;
  const exact = new Set(selectors.flatMap(({ matchName = "" }) => (matchName === "" ? [] : [normalizeName(matchName.trim())])));
  const matchers = patterns.map((matchPattern) => fqdnMatcher({ matchPattern }));
  return (name) => exact.has(name) || matchers.some((matches) => matches(name));
}

const MAX_SHOWN = 3;

/** The rules that came nearest: those for this server, and of their names the ones that are most alike. */
function denialOf(rules: readonly DnsRule[], server: Peer, name: string): AccessDenial {
  const mine = rules.filter((rule) => isAbout(rule, server));
  const names = mine.flatMap((rule) => (rule.names ?? []).map((selector) => ({ rule, wanted: fqdnLabelKey(selector) })));
  const nearest = names
    .sort((a, b) => alike(b.wanted, name) - alike(a.wanted, name))
    .slice(0, MAX_SHOWN)
    .map(({ rule, wanted }) => ({ origins: rule.origins, mismatches: [{ field: "name" as const, wanted, found: name }] }));
  const others = rules.filter((rule) => !mine.includes(rule)).slice(0, MAX_SHOWN - nearest.length);
  const strangers = others.map(({ origins, identities }) => ({
    origins,
    mismatches: [{ field: "identity" as const, wanted: (identities ?? []).slice(0, 8).join(","), found: server.join(",") }],
  }));
  return { origins: rules.flatMap(({ origins }) => origins), nearest: [...nearest, ...strangers], reason: "policy" };
}

/** How many last labels two names share. */
function alike(pattern: string, name: string): number {
  const [a, b] = [normalizeName(pattern.trim()), name].map((one) => one.split(".").reverse());
  let same = 0;
  while (same < (a?.length ?? 0) && a?.[same] === b?.[same]) same += 1;
  return same;
}
