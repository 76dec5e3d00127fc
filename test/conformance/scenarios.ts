import { reservedIdentities } from "#identity/reserved.ts";
import { labelSet } from "#labels/label-set.ts";
import { createRepository, type Repository } from "#policy/resolve/repository.ts";
import { type EndpointPolicy, resolveEndpoint } from "#policy/resolve/resolve.ts";
import { decidingEntry, type Flow, verdict } from "#policy/resolve/verdict.ts";
import { type ParsedPolicy, policyKey, type RuleRef } from "#policy/rule.ts";
import { createSelectorCache, type IdentityEntry, type SelectorCache } from "#policy/selectors/selector-cache.ts";
import type { Direction } from "#types/direction.ts";
import { NumericIdentity, reservedIdentity } from "#types/identity.ts";
import { parseProtocol } from "#types/proto.ts";
import { type DataIdentity, type DataVerdict, type Scenario, settingsOf } from "./data.ts";
import { expectedL7, l7Of } from "./l7.ts";
import { compareMaps } from "./policy-map.ts";
import {
  deviationsOf,
  documentedReadings,
  EXTENSION,
  isExtension,
  isMergeOrder,
  MERGE_ORDER,
  parseAs,
  type Reading,
  readRules,
} from "./quirks.ts";
import type { Recorder } from "./report.ts";

/** A scenario's cluster with the policies of its endpoints. */
export type Cluster = {
  readonly repo: Repository;
  readonly cache: SelectorCache;
  readonly policies: ReadonlyMap<number, EndpointPolicy>;
  /** Of each policy, whether it is taken. */
  readonly accepted: readonly boolean[];
  numberOf(ref: RuleRef): number;
};

function entryOf(one: DataIdentity): IdentityEntry {
  const namedPorts = (one.namedPorts ?? []).map(({ name, protocol, port }) => ({ name, port, protocol: parseProtocol(protocol) ?? 0 }));
  return { id: NumericIdentity(one.id), labels: labelSet(one.labels), namedPorts };
}

/** How the policies are read for a cluster: by each deviation in which way; without any, as our engine does. */
type View = { readonly deviations: readonly string[]; readonly readings: readonly Reading[] };

/** The policies of a scenario as they were read, in a repository of their own. */
function repositoryOf(scenario: Scenario, view: View): { readonly repo: Repository; readonly parsed: readonly ParsedPolicy[] } {
  const services = (scenario.services ?? []).map((one) => ({
    ...one,
    labels: labelSet(Object.entries(one.labels ?? {}).map(([key, value]) => `k8s:${key}=${value}`)),
  }));
  const parsed = scenario.policies.map((_, i) => parseAs(scenario, i, view.deviations, view.readings));
  const empty = createRepository(settingsOf(scenario.config)).withServices(services);
  const read = parsed.map((one) => readRules(one, view.deviations, view.readings, empty));
  return { repo: empty.with(...read), parsed };
}

/** Makes a scenario's cluster; `view` reads its policies in another way than our engine does. */
export function buildCluster(scenario: Scenario, view: View = { deviations: [], readings: [] }): Cluster {
  const { repo, parsed } = repositoryOf(scenario, view);
  const cache = createSelectorCache();
  const listed = new Set(scenario.identities.map(({ id }) => id));
  // The reserved identities are there whether listed or not (README of the data).
  const unlisted = reservedIdentities().filter(({ id }) => id >= 1 && id <= 10 && !listed.has(id));
  cache.update({ add: [...scenario.identities.map(entryOf), ...unlisted.map(({ id, labels }) => ({ id, labels, namedPorts: [] }))] });
  const policies = new Map<number, EndpointPolicy>();
  for (const one of scenario.identities) {
    if (!one.endpoint) continue;
    const { id, labels, namedPorts = [] } = entryOf(one);
    policies.set(one.id, resolveEndpoint(repo, cache, { identity: id, labels, namedPorts }));
  }
  const numbers = new Map(parsed.map((one, i) => [policyKey(one.ref), i]));
  const accepted = parsed.map(({ issues }) => issues.length === 0);
  return { repo, cache, policies, accepted, numberOf: (ref) => numbers.get(policyKey(ref)) ?? -1 };
}

function checkEnforcement(scenario: Scenario, cluster: Cluster, recorder: Recorder, decided: string | undefined): void {
  for (const expected of scenario.expected.enforcement) {
    const policy = cluster.policies.get(expected.id);
    if (policy === undefined) throw new Error(`expected.enforcement names ${expected.id}, which is no endpoint of the scenario`);
    const where = `endpoint ${expected.id}`;
    const deviation = isMergeOrder(scenario, policy.error, expected.error) ? MERGE_ORDER : decided;
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

/** Gives a scenario's cluster and everything that has an answer, for an engine that is asked in another way. */
export function* questionsOf(scenario: Scenario, cluster: Cluster): Generator<Question> {
  const peers = new Map(scenario.identities.map((one) => [one.id, one]));
  const deviations = deviationsOf(scenario);
  for (const side of scenario.expected.flows.flatMap(sidesOf)) {
    const policy = cluster.policies.get(side.endpoint);
    const expected = scenario.expected.verdicts[side.answer];
    if (policy === undefined || expected === undefined) throw new Error(`the flow ${side.where} has no endpoint or verdict behind it`);
    const readings = documentedReadings(deviations, side.flow, peers.get(side.flow.identity));
    if (isMergeOrder(scenario, policy.error, expected.error)) {
      yield { ...side, policy, expected, readings, excuse: MERGE_ORDER };
      continue;
    }
    const excuse = readings.includes("documented") ? deviations.find((_, i) => readings[i] === "documented") : undefined;
    yield { ...side, policy, expected, readings, excuse };
  }
}

/** One side of a flow with the reference's answer. */
export type Question = Side & {
  readonly policy: EndpointPolicy;
  readonly expected: DataVerdict;
  /** How the documented answer reads each of the scenario's deviations. */
  readonly readings: readonly Reading[];
  /** The deviation by which our answer may be another one. */
  readonly excuse: string | undefined;
};

/** Compares answers aspect by aspect, up to the first that differs. */
function compareAnswers(
  id: string,
  where: string,
  [wanted, actual]: readonly [Answer, Answer],
  recorder: Recorder,
  reasons: Reasons,
): void {
  for (const aspect of aspects) {
    const reason = attribution.has(aspect) ? reasons.attribution : reasons.all;
    if (!recorder.compare(id, aspect, where, wanted[aspect], actual[aspect], reason)) return;
  }
}

type Reasons = { readonly all: string | undefined; readonly attribution: string | undefined };

const EQUAL_DENY = "which of two equal denies is named";

function checkFlows(scenario: Scenario, cluster: Cluster, recorder: Recorder): void {
  const wanted = scenario.expected.verdicts.map(wantedOf);
  for (const { flow, policy, answer, where, excuse } of questionsOf(scenario, cluster)) {
    const expected = wanted[answer];
    if (expected === undefined) continue;
    const attribution = excuse ?? (isEqualDeny(policy, flow) ? EQUAL_DENY : undefined);
    const answers = [expected, answerOf(cluster, policy, flow)] as const;
    compareAnswers(scenario.id, `${flow.direction} ${where}`, answers, recorder, { all: excuse, attribution });
  }
}

/** Compares the recorded policy maps by what they answer; with a deviation, those of the reference's reading. */
function checkMaps({ id, expected: { policyMaps } }: Scenario, cluster: Cluster, recorder: Recorder): void {
  if (policyMaps === undefined) return;
  recorder.compare(id, "policy map", "of any endpoint", true, Object.keys(policyMaps).length > 0);
  for (const [endpoint, rows] of Object.entries(policyMaps)) {
    const policy = cluster.policies.get(Number(endpoint));
    if (policy === undefined) throw new Error(`expected.policyMaps names ${endpoint}, which is no endpoint of the scenario`);
    for (const { where, expected, actual } of compareMaps(rows ?? [], policy))
      recorder.compare(id, "policy map", `of ${endpoint}, ${where}`, expected, actual);
  }
}

/**
 * Holds what a deviation excuses to account. Read with the reference's quirk, the policies must give the reference's answers: so nothing but the
 * quirk makes a difference. Spelled in the documented way, they must give what our engine says of them as they are.
 */
function checkDeviations(scenario: Scenario, cluster: Cluster, recorder: Recorder): void {
  const deviations = deviationsOf(scenario);
  if (deviations.length === 0) return;
  const clusters = new Map<string, Cluster>();
  const read = (readings: readonly Reading[]): Cluster => {
    const known = clusters.get(readings.join()) ?? buildCluster(scenario, { deviations, readings });
    clusters.set(readings.join(), known);
    return known;
  };
  const theirs = read(deviations.map(() => "reference"));
  checkMaps(scenario, theirs, recorder);
  checkEnforcement(scenario, theirs, recorder, undefined);
  for (const { flow, endpoint, policy, expected, where, readings, excuse } of questionsOf(scenario, cluster)) {
    // No reading of ours merges in the order of names.
    if (excuse === MERGE_ORDER) continue;
    const at = `${flow.direction} ${where}`;
    const [quirky, documented] = [theirs.policies.get(endpoint), read(readings).policies.get(endpoint)];
    if (quirky === undefined || documented === undefined) continue;
    const [wanted, said] = [wantedOf(expected), answerOf(theirs, quirky, flow)];
    for (const aspect of ["verdict", "redirect", "l7"] as const)
      recorder.compare(scenario.id, `${aspect} by the quirk`, at, wanted[aspect], said[aspect]);
    recorder.compare(scenario.id, "verdict as documented", at, verdict(documented, flow).verdict, verdict(policy, flow).verdict);
  }
}

/** Runs one scenario and records every difference. */
export function runScenario(scenario: Scenario, recorder: Recorder): void {
  recorder.startCase();
  const extended = deviationsOf(scenario).find((one) => one === EXTENSION);
  const cluster = buildCluster(scenario);
  for (const [i, accepted] of cluster.accepted.entries()) {
    const excuse = isExtension(scenario, i) ? EXTENSION : undefined;
    recorder.compare(scenario.id, "accepted", `policy ${i}`, scenario.expected.policies[i]?.accepted, accepted, excuse);
  }
  checkEnforcement(scenario, cluster, recorder, extended);
  checkFlows(scenario, cluster, recorder);
  if (deviationsOf(scenario).length === 0) checkMaps(scenario, cluster, recorder);
  checkDeviations(scenario, cluster, recorder);
}
