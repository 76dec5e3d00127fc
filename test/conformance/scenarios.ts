import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse.ts";
import { createRepository, type Repository } from "#policy/repository.ts";
import { type EndpointPolicy, resolveEndpoint } from "#policy/resolve.ts";
import { policyKey, type RuleRef } from "#policy/rule.ts";
import { createSelectorCache, type IdentityEntry, type SelectorCache } from "#policy/selector-cache.ts";
import { decidingEntry, type Flow, verdict } from "#policy/verdict.ts";
import type { Direction } from "#types/direction.ts";
import { NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { parseProtocol, protocolNumber } from "#types/proto.ts";
import { type DataIdentity, type DataVerdict, type Scenario, settingsOf } from "./data.ts";
import { expectedL7, l7Of } from "./l7.ts";
import type { Recorder } from "./report.ts";

/** Quirks of the reference where ours does the documented thing (SEMANTICS §3). */
const decided = new Set([
  "icmp-type-0",
  "unresolved-services",
  "empty-to-fqdns",
  "empty-cidr-group-selector",
  "merge-order",
  "port-wraparound",
]);

/** A scenario's cluster with the policies of its endpoints. */
export type Cluster = {
  readonly repo: Repository;
  readonly cache: SelectorCache;
  readonly policies: ReadonlyMap<number, EndpointPolicy>;
  numberOf(ref: RuleRef): number;
};

function entryOf(one: DataIdentity): IdentityEntry {
  const namedPorts = (one.namedPorts ?? []).map(({ name, protocol, port }) => ({ name, port, protocol: parseProtocol(protocol) ?? 0 }));
  return { id: NumericIdentity(one.id), labels: labelSet(one.labels), namedPorts };
}

/** Makes a scenario's cluster; `onParsed` is told what became of each policy. */
export function buildCluster(scenario: Scenario, onParsed: (number: number, accepted: boolean) => void = () => {}): Cluster {
  const settings = settingsOf(scenario.config);
  const parsed = scenario.policies.map((object) => parsePolicy(object, settings));
  for (const [i, one] of parsed.entries()) onParsed(i, one.issues.length === 0);
  const services = (scenario.services ?? []).map((one) => ({
    ...one,
    labels: labelSet(Object.entries(one.labels ?? {}).map(([key, value]) => `k8s:${key}=${value}`)),
  }));
  const repo = createRepository(settings)
    .with(...parsed)
    .withServices(services);
  const cache = createSelectorCache();
  cache.update({ add: scenario.identities.map(entryOf) });
  const policies = new Map<number, EndpointPolicy>();
  for (const one of scenario.identities) {
    if (!one.endpoint) continue;
    const { id, labels, namedPorts = [] } = entryOf(one);
    policies.set(one.id, resolveEndpoint(repo, cache, { identity: id, labels, namedPorts }));
  }
  const numbers = new Map(parsed.map((one, i) => [policyKey(one.ref), i]));
  return { repo, cache, policies, numberOf: (ref) => numbers.get(policyKey(ref)) ?? -1 };
}

/** A policy that the reference refuses and ours accepts with a warning is one of our extensions; its scenario's answers differ. */
function usesExtension(scenario: Scenario): boolean {
  const settings = settingsOf(scenario.config);
  return scenario.policies.some((object, i) => {
    if (scenario.expected.policies[i]?.accepted !== false) return false;
    const { issues, warnings } = parsePolicy(object, settings);
    return issues.length === 0 && warnings.some((one) => one.stage === "portability");
  });
}

function checkEnforcement(scenario: Scenario, cluster: Cluster, recorder: Recorder, deviation: string | undefined): void {
  for (const expected of scenario.expected.enforcement) {
    const policy = cluster.policies.get(expected.id);
    if (policy === undefined) continue;
    const where = `endpoint ${expected.id}`;
    const numbers = policy.selectedBy
      .map((ref) => cluster.numberOf({ ...ref, section: "ingress", index: 0, spec: 0 }))
      .sort((a, b) => a - b);
    // Where rules can not be merged the reference shows no enforcement, as the agent keeps the policy that it has.
    const merged = policy.error === undefined;
    const actual = [
      merged && policy.ingress.enforced,
      merged && policy.egress.enforced,
      policy.ingress.defaultDeny,
      policy.egress.defaultDeny,
      numbers,
    ];
    const wanted = [expected.ingress, expected.egress, expected.ingressDefaultDeny, expected.egressDefaultDeny, expected.policies ?? []];
    recorder.compare(scenario.id, "enforcement", where, wanted, actual, deviation);
    recorder.compare(scenario.id, "error", where, expected.error !== undefined, policy.error !== undefined, deviation);
  }
}

/** The parts of an answer, in the data's own words. */
type Answer = Readonly<Record<"verdict" | "policies" | "redirect" | "auth" | "log" | "l7", unknown>>;

function answerOf(cluster: Cluster, policy: EndpointPolicy, flow: Flow): Answer {
  const result = verdict(policy, flow);
  const { entry } = result;
  if (entry === undefined) return { verdict: result.verdict, policies: [], redirect: null, auth: null, log: [], l7: null };
  const policies = [...new Set(entry.origins.map((ref) => cluster.numberOf(ref)))].sort((a, b) => a - b);
  const { proxy, auth } = entry;
  return {
    verdict: entry.deny ? "denied" : "allowed",
    policies,
    redirect: proxy === undefined ? null : [proxy.parser, proxy.listener ?? "", proxy.priority],
    auth: auth === undefined ? null : [auth.type, auth.explicit],
    log: [...entry.logs].sort(),
    l7: proxy === undefined ? null : l7Of(policy, flow),
  };
}

function wantedOf(expected: DataVerdict): Answer {
  const { redirect } = expected;
  return {
    verdict: expected.verdict,
    policies: expected.policies ?? [],
    redirect: redirect === undefined ? null : [redirect.parser, redirect.listener ?? "", redirect.listenerPriority ?? 0],
    auth: expected.auth === undefined ? null : [expected.auth, expected.authExplicit ?? false],
    log: [...(expected.log ?? [])].sort(),
    l7: expected.l7 === undefined ? null : expectedL7(expected.l7),
  };
}

const aspects = ["verdict", "redirect", "l7", "auth", "policies", "log"] as const;

/** Whether the peer's own wide deny is as strong as the narrower one for everybody that our datapath names: the reference names the former. */
function isEqualDeny(policy: EndpointPolicy, flow: Flow): boolean {
  const entry = decidingEntry(policy, flow);
  if (entry?.deny !== true || entry.identity !== reservedIdentity.unknown) return false;
  return policy
    .entriesFor(flow.identity)
    .some((one) => one.deny && one.direction === flow.direction && one.precedence === entry.precedence && one.protocol === 0);
}

/** The aspects that say why and not what: an engine may fill its map in another way (README of the data). */
export const attribution: ReadonlySet<string> = new Set(["policies", "log"]);

type Side = { readonly flow: Flow; readonly endpoint: number; readonly answer: number; readonly where: string };
type FlowRow = Scenario["expected"]["flows"][number];

/** The two sides of a flow that have an answer. */
function sidesOf([from, to, protocol, port, egress, ingress]: FlowRow): Side[] {
  const flow = (direction: Direction, peer: number): Flow => ({
    direction,
    identity: NumericIdentity(peer),
    protocol: parseProtocol(protocol) ?? 0,
    port,
  });
  const where = `${from} -> ${to} ${protocol}/${port}`;
  return [
    ...(egress === null ? [] : [{ flow: flow("egress", to), endpoint: from, answer: egress, where }]),
    ...(ingress === null ? [] : [{ flow: flow("ingress", from), endpoint: to, answer: ingress, where }]),
  ];
}

function isIcmp({ protocol }: Flow): boolean {
  return protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
}

function checkFlows(scenario: Scenario, cluster: Cluster, recorder: Recorder, deviation: string | undefined): void {
  const wanted = scenario.expected.verdicts.map(wantedOf);
  for (const { flow, endpoint, answer, where } of scenario.expected.flows.flatMap(sidesOf)) {
    const policy = cluster.policies.get(endpoint);
    const expected = wanted[answer];
    if (policy === undefined || expected === undefined) continue;
    const actual = answerOf(cluster, policy, flow);
    const excused = excuseOf(deviation, flow);
    const reason = excused ?? (isEqualDeny(policy, flow) ? "which of two equal denies is named" : undefined);
    for (const aspect of aspects) {
      const allowed = attribution.has(aspect) ? reason : excused;
      if (!recorder.compare(scenario.id, aspect, `${flow.direction} ${where}`, expected[aspect], actual[aspect], allowed)) break;
    }
  }
}

/** Why a scenario's answers may differ, where that was decided. */
function deviationOf(scenario: Scenario): string | undefined {
  return scenario.quirks?.find((one) => decided.has(one)) ?? (usesExtension(scenario) ? "extension" : undefined);
}

/** Why the answer for one flow of a scenario may differ. */
function excuseOf(deviation: string | undefined, flow: Flow): string | undefined {
  return deviation === "icmp-type-0" && !isIcmp(flow) ? undefined : deviation;
}

/** Gives a scenario's cluster and everything that has an answer, for an engine that is asked in another way. */
export function* questionsOf(scenario: Scenario, cluster: Cluster): Generator<Question> {
  const deviation = deviationOf(scenario);
  for (const side of scenario.expected.flows.flatMap(sidesOf)) {
    const policy = cluster.policies.get(side.endpoint);
    const expected = scenario.expected.verdicts[side.answer];
    if (policy !== undefined && expected !== undefined) yield { ...side, policy, expected, excuse: excuseOf(deviation, side.flow) };
  }
}

/** One side of a flow with the reference's answer. */
export type Question = Side & { readonly policy: EndpointPolicy; readonly expected: DataVerdict; readonly excuse: string | undefined };

/** Runs one scenario and records every difference. */
export function runScenario(scenario: Scenario, recorder: Recorder): void {
  recorder.startCase();
  const deviation = deviationOf(scenario);
  const cluster = buildCluster(scenario, (i, accepted) => {
    recorder.compare(scenario.id, "accepted", `policy ${i}`, scenario.expected.policies[i]?.accepted, accepted, deviation);
  });
  checkEnforcement(scenario, cluster, recorder, deviation);
  checkFlows(scenario, cluster, recorder, deviation);
}
