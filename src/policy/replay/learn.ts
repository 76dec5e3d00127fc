import { formatProtocol, protocolNumber } from "#types/proto.ts";
import { isDns } from "./judge.ts";
import type { End, Observed } from "./observed.ts";
import { rulesForRequests } from "./paths.ts";
import { createSelectors, nameSelectors, type Pod, peerClause, type Selectors } from "./peers.ts";

/** A rule that was learned, and how often it was seen. */
export type LearnedRule = { readonly rule: Record<string, unknown>; readonly flows: number; readonly last: number };

/** A policy for one workload that allows what was seen of it. */
export type LearnedPolicy = {
  readonly namespace: string;
  readonly name: string;
  readonly workload: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ingress: readonly LearnedRule[];
  readonly egress: readonly LearnedRule[];
};

/** What is known of learned policies besides the policies. */
export type Learned = {
  readonly policies: readonly LearnedPolicy[];
  /** The traffic that they were learned from: what passed, and concerns a pod of these namespaces. */
  readonly accepted: readonly Observed[];
  readonly selectors: Selectors;
  /** Whether a policy was learned that selects this end. */
  readonly governs: (end: End) => boolean;
};

/** More names than that in one rule are not what anybody reads: then every name may be asked for. */
const MOST_NAMES = 50;

/** Least-privilege policies from recorded traffic, for the pods of some namespaces. What was only ever dropped is not learned. */
export function learn(observed: readonly Observed[], isWanted: (namespace: string) => boolean): Learned {
  const selectors = createSelectors(observed);
  const isMine = (end: End): end is Pod => end.kind === "pod" && isWanted(end.namespace);
  const accepted = observed.filter((one) => one.passed > 0 && (isMine(one.from) || isMine(one.to)));
  const subjects = new Map<string, Pod>();
  for (const end of accepted.flatMap(({ from, to }) => [from, to])) {
    if (isMine(end)) subjects.set(selectors.key(end), end);
  }
  const governs = (end: End) => subjects.has(selectors.key(end));
  const names = new Map<string, number>();
  const policies = [...subjects].map(([key, subject]): LearnedPolicy => {
    const { namespace, workload } = subject;
    const count = (names.get(`${namespace}/${workload}`) ?? 0) + 1;
    names.set(`${namespace}/${workload}`, count);
    const ingress = accepted.filter(({ to }) => selectors.key(to) === key);
    const egress = accepted.filter(({ from }) => selectors.key(from) === key);
    return {
      namespace,
      name: `learned-${objectName(workload)}${count > 1 ? `-${count}` : ""}`,
      workload,
      labels: selectors.of(subject),
      ingress: rulesOf("ingress", subject, ingress, { selectors, governs }),
      egress: rulesOf("egress", subject, egress, { selectors, governs }),
    };
  });
  return { policies: policies.sort(byName), accepted, selectors, governs };
}

const byName = (a: LearnedPolicy, b: LearnedPolicy) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1);

type Context = Pick<Learned, "selectors" | "governs">;

/** One rule a peer; one more for ICMP, which has no place beside ports. The node may always reach its own pods, so it needs none. */
function rulesOf(direction: "ingress" | "egress", subject: Pod, traffic: readonly Observed[], context: Context): LearnedRule[] {
  const peerOf = ({ from, to }: Observed) => (direction === "ingress" ? from : to);
  const clauses = traffic
    .filter((one) => direction === "egress" || peerOf(one).title !== "host")
    .map((one) => ({ one, clause: peerClause(direction, peerOf(one), subject, context.selectors) }));
  const byPeer = Map.groupBy(clauses, ({ one, clause }) => `${isIcmp(one)} ${JSON.stringify(clause)}`);
  return [...byPeer.values()].map((members): LearnedRule => {
    const [first] = members;
    const list = members.map(({ one }) => one);
    return {
      rule: { ...first?.clause, ...portClause(direction, list, context) },
      flows: list.reduce((sum, { flows }) => sum + flows, 0),
      last: Math.max(...list.map(({ last }) => last)),
    };
  });
}

/** `toPorts` with the requests that were seen, or `icmps`. */
function portClause(direction: "ingress" | "egress", traffic: readonly Observed[], context: Context): Record<string, unknown> {
  if (traffic.every(isIcmp)) return { icmps: [{ fields: icmpFields(traffic) }] };
  const byPort = Map.groupBy(traffic, ({ protocol, port }) => `${protocol} ${port}`);
  const plain: unknown[] = [];
  const toPorts: unknown[] = [];
  for (const members of byPort.values()) {
    const [first] = members;
    if (first === undefined) continue;
    const port = { port: String(first.port), protocol: formatProtocol(first.protocol) };
    const rules = requestRules(direction, members, context);
    if (rules === undefined) plain.push(port);
    else toPorts.push({ ports: [port], rules });
  }
  if (plain.length > 0) toPorts.unshift({ ports: plain });
  return { toPorts: joinDns(toPorts) };
}

function isIcmp({ protocol }: Observed): boolean {
  return protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6;
}

function icmpFields(traffic: readonly Observed[]): unknown[] {
  const distinct = new Map(
    traffic.map(({ protocol, port }) => [
      `${protocol} ${port}`,
      { family: protocol === protocolNumber.ICMP ? "IPv4" : "IPv6", type: port },
    ]),
  );
  return [...distinct.values()];
}

/** Requests are judged where they arrive; on the way out only when nothing was learned for the receiver. */
function requestRules(
  direction: "ingress" | "egress",
  traffic: readonly Observed[],
  { governs }: Context,
): Record<string, unknown> | undefined {
  const requests = traffic.flatMap(({ http, protocol }) => (http && protocol === protocolNumber.TCP ? [http] : []));
  const receiverJudges = direction === "egress" && traffic.every(({ to }) => governs(to));
  if (requests.length > 0 && !receiverJudges) return { http: rulesForRequests(requests) };
  if (direction === "ingress" || !traffic.some(isDns)) return undefined;
  const names = [...new Set(traffic.flatMap(({ dns }) => (dns ? [dns] : [])))].sort();
  const exact = names.length > 0 && names.length <= MOST_NAMES ? nameSelectors(names) : undefined;
  return { dns: exact ?? [{ matchPattern: "*" }] };
}

/** A label's value may hold what an object's name may not. */
function objectName(workload: string): string {
  const name = workload.toLowerCase().replace(/[^a-z0-9-]+/g, "-");
  return name.replace(/^-+|-+$/g, "").slice(0, 200) || "pods";
}

/** DNS over UDP and over TCP with the same names are one entry. */
function joinDns(toPorts: readonly unknown[]): unknown[] {
  const byRules = Map.groupBy(toPorts as { ports: unknown[]; rules?: unknown }[], ({ rules }) => JSON.stringify(rules));
  return [...byRules.values()].map(([first, ...more]) => ({ ...first, ports: [first, ...more].flatMap((one) => one?.ports ?? []) }));
}

/** The object to apply. A direction in which nothing was seen allows nothing. */
export function objectOf({ namespace, name, workload, labels, ingress, egress }: LearnedPolicy) {
  const flows = [...ingress, ...egress].reduce((sum, one) => sum + one.flows, 0);
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name, namespace },
    spec: {
      description: `what was seen of ${workload} in ${flows} flows`,
      endpointSelector: { matchLabels: labels },
      ingress: ingress.length > 0 ? ingress.map(({ rule }) => rule) : [{}],
      egress: egress.length > 0 ? egress.map(({ rule }) => rule) : [{}],
    },
  };
}
