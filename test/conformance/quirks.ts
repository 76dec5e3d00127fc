import { parsePolicy } from "#policy/parse/parse.ts";
import { anyPeer, labelPeer, noPeer } from "#policy/resolve/peer.ts";
import type { Repository } from "#policy/resolve/repository.ts";
import type { Flow } from "#policy/resolve/verdict.ts";
import type { ParsedPolicy, PeerSelector, PortSpec, Rule } from "#policy/rule.ts";
import { protocolNumber } from "#types/proto.ts";
import { type DataIdentity, type Scenario, settingsOf } from "./data.ts";

/** How a rule is read: as the reference does, or spelled in the way that SEMANTICS §3 says it is meant. */
export type Reading = "reference" | "documented";

/** A detail of the reference that ours does not copy (SEMANTICS §3). */
type Quirk = {
  /** The policy as it is read, before it is parsed. */
  readonly object?: (object: unknown, reading: Reading) => unknown;
  /** The rule as it is read; `repo` has the services. */
  readonly rule?: (rule: Rule, reading: Reading, repo: Repository) => Rule;
  /** Flows for which both readings are one: there the documented answer is the reference's. */
  readonly agrees: (flow: Flow, peer: DataIdentity | undefined) => boolean;
};

type Fields = Readonly<Record<string, unknown>>;

/** A copy of a value in which every object was put through `change`, the inner ones first. */
function rewrite(value: unknown, change: (fields: Fields) => Fields): unknown {
  if (Array.isArray(value)) return value.map((one) => rewrite(one, change));
  if (typeof value !== "object" || value === null) return value;
  return change(Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, rewrite(inner, change)])));
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

const everyIcmpType: readonly PortSpec[] = Array.from({ length: 256 }, (_, port) => ({
  ...{ protocol: protocolNumber.ICMP, name: "", port, endPort: 0 },
}));

function isTypeZero({ protocol, port }: PortSpec): boolean {
  return protocol === protocolNumber.ICMP && port === 0;
}

/** Rules for type 0 cover all of ICMPv4 in the reference; they are for type 0. */
const icmpTypeZero: Quirk = {
  rule: (rule, reading) => ({
    ...rule,
    ports:
      rule.ports?.map((one) => ({
        ...one,
        ports: one.ports.flatMap((spec) => (!isTypeZero(spec) ? [spec] : reading === "reference" ? everyIcmpType : [])),
      })) ?? null,
  }),
  agrees: ({ protocol, port }) => protocol !== protocolNumber.ICMP || port === 0,
};

/** Services that are not there are everybody in the reference, when the rule has ports; they are nobody. */
const unresolvedServices: Quirk = {
  rule: (rule, reading, repo) => {
    if (rule.services.length === 0 || rule.ports === null || repo.peersOf(rule).length > 0) return rule;
    return { ...rule, services: [], peers: [reading === "reference" ? anyPeer : noPeer] };
  },
  agrees: () => false,
};

/** An empty list of names is everybody in the reference, when the rule has ports; it is nobody. */
const emptyToFqdns: Quirk = {
  object: (object, reading) =>
    rewrite(object, ({ toFQDNs, ...rest }) => {
      if (toFQDNs === undefined) return rest;
      if (!isEmptyList(toFQDNs) || (rest.toPorts === undefined && rest.icmps === undefined)) return { toFQDNs, ...rest };
      return reading === "reference" ? rest : { toEndpoints: [], ...rest };
    }),
  agrees: () => false,
};

function readGroups(peer: PeerSelector, reading: Reading): PeerSelector {
  if (peer.source !== "cidrgroup" || peer.requirements.length > 0) return peer;
  return reading === "reference" ? labelPeer([], peer.except) : noPeer;
}

/** The empty selector of CIDR groups is everybody in the reference; it is the blocks of all groups. */
const emptyCidrGroupSelector: Quirk = {
  rule: (rule, reading) => ({ ...rule, peers: rule.peers.map((peer) => readGroups(peer, reading)) }),
  agrees: (_, peer) => peer?.labels.some((label) => label.startsWith("cidrgroup:")) ?? false,
};

const quirks: ReadonlyMap<string, Quirk> = new Map([
  ["icmp-type-0", icmpTypeZero],
  ["unresolved-services", unresolvedServices],
  ["empty-to-fqdns", emptyToFqdns],
  ["empty-cidr-group-selector", emptyCidrGroupSelector],
]);

/** The deviation of scenarios with a policy that the reference refuses and ours takes, with a warning. */
export const EXTENSION = "extension";

/** Whether ours takes a policy that the reference refuses, and says that it is not portable. */
export function isExtension(scenario: Scenario, index: number): boolean {
  if (scenario.expected.policies[index]?.accepted !== false) return false;
  const { issues, warnings } = parsePolicy(scenario.policies[index], settingsOf(scenario.config));
  return issues.length === 0 && warnings.some(({ stage }) => stage === "portability");
}

/**
 * The deviation of an endpoint whose rules the reference merges in the order of their policies' names and not in another; ours never depends on names,
 * so that they are a conflict in any order.
 */
export const MERGE_ORDER = "merge-order";

/** Whether the reference could merge an endpoint's rules because of their order, where ours says that they conflict. */
export function isMergeOrder(scenario: Scenario, ourError: string | undefined, theirError: string | undefined): boolean {
  const depends = scenario.quirks?.includes(MERGE_ORDER) ?? false;
  return depends && theirError === undefined && ourError?.startsWith("cannot merge ") === true;
}

/** What was decided on and may show in a scenario: its quirks, and our extensions. Other codes excuse nothing. */
export function deviationsOf(scenario: Scenario): string[] {
  const extended = scenario.policies.some((_, i) => isExtension(scenario, i));
  return [...(scenario.quirks ?? []).filter((one) => quirks.has(one)), ...(extended ? [EXTENSION] : [])];
}

/** How a flow's policies are to be read for the documented answer, a word for each of the deviations. */
export function documentedReadings(deviations: readonly string[], flow: Flow, peer: DataIdentity | undefined): Reading[] {
  return deviations.map((one) => (quirks.get(one)?.agrees(flow, peer) ? "reference" : "documented"));
}

/** Parses a policy in the given readings of the deviations. */
export function parseAs(scenario: Scenario, index: number, deviations: readonly string[], readings: readonly Reading[]): ParsedPolicy {
  const settings = settingsOf(scenario.config);
  const each = deviations.map((name, i) => ({ name, quirk: quirks.get(name), reading: readings[i] ?? "documented" }));
  let object = scenario.policies[index];
  for (const { quirk, reading } of each) object = quirk?.object?.(object, reading) ?? object;
  const parsed = parsePolicy(object, settings);
  const refused = each.some(({ name, reading }) => name === EXTENSION && reading === "reference") && isExtension(scenario, index);
  return refused ? { ...parsed, rules: [] } : parsed;
}

/** The rules of a policy in the given readings of the deviations. */
export function readRules(
  parsed: ParsedPolicy,
  deviations: readonly string[],
  readings: readonly Reading[],
  repo: Repository,
): ParsedPolicy {
  let { rules } = parsed;
  for (const [i, name] of deviations.entries()) {
    const quirk = quirks.get(name);
    rules = rules.map((rule) => quirk?.rule?.(rule, readings[i] ?? "documented", repo) ?? rule);
  }
  return { ...parsed, rules };
}
