import { label, labelKey } from "#labels/label.ts";
import { type LabelSet, labelSetOf } from "#labels/label-set.ts";
import { IpAddress } from "#types/addr.ts";
import { protocolNumber } from "#types/proto.ts";
import { memorySource } from "../world/objects.ts";
import { createWorld } from "../world/world.ts";
import { createJudge } from "./judge.ts";
import { type Learned, objectOf } from "./learn.ts";
import { type End, type Observed, portTitle, requestTitle } from "./observed.ts";
import type { Pod } from "./peers.ts";

/** Whether learned policies allow what was seen, and nothing like it that was not. */
export type Proof = {
  readonly replayed: number;
  /** Seen, and not allowed. */
  readonly missing: readonly string[];
  readonly varied: number;
  /** Not seen, and allowed all the same. */
  readonly unintended: readonly string[];
  readonly holds: boolean;
};

/** So many variations are tried at the most. */
const MOST_VARIATIONS = 20_000;

/** Replays what was seen, and variations of it that were not, with the engine against the learned policies alone. */
export function prove(learned: Learned, observed: readonly Observed[]): Proof {
  const world = createWorld(learned.policies.map((policy) => ({ object: objectOf(policy), source: memorySource(policy.name) })));
  const judge = createJudge(world, observed, { brief: true });
  const missing = learned.accepted.filter((one) => judge.judge(one).outcome === "denied").map(title);
  let varied = 0;
  const unintended: string[] = [];
  for (const variation of variations(learned)) {
    varied += 1;
    if (judge.judge(variation).outcome !== "denied") unintended.push(title(variation));
    if (varied >= MOST_VARIATIONS) break;
  }
  return { replayed: learned.accepted.length, missing, varied, unintended, holds: missing.length + unintended.length === 0 };
}

function title(observed: Observed): string {
  return `${observed.from.title} → ${observed.to.title} ${portTitle(observed)} ${requestTitle(observed)}`.trimEnd();
}

/** Traffic that resembles what was seen at a governed end, and was not seen. */
function* variations(learned: Learned): Generator<Observed> {
  const { accepted, selectors } = learned;
  const keyOf = ({ from, to, protocol, port, http, dns }: Observed) =>
    `${selectors.key(from)}>${selectors.key(to)} ${protocol} ${port} ${http ? `${http.method} ${http.path}` : ""} ${dns ?? ""}`;
  const pairOf = ({ from, to, protocol, port }: Observed) => `${selectors.key(from)}>${selectors.key(to)} ${protocol} ${port}`;
  const seen = new Set(accepted.flatMap((one) => [keyOf(one), pairOf(one)]));
  const tried = new Set<string>();
  const isGoverned = ({ from, to }: Observed) => learned.governs(from) || learned.governs(to);
  for (const one of candidates(accepted)) {
    const key = one.http || one.dns ? keyOf(one) : pairOf(one);
    if (seen.has(key) || tried.has(key) || !isGoverned(one) || isOwnNode(one)) continue;
    tried.add(key);
    yield one;
  }
}

/** The node may always reach its own pods. */
function isOwnNode({ from }: Observed): boolean {
  return from.title === "host";
}

function* candidates(accepted: readonly Observed[]): Generator<Observed> {
  for (const one of accepted) {
    const bare: Observed = { ...one, http: undefined, dns: undefined };
    yield* otherPorts(bare);
    for (const from of strangersTo(one.from)) yield { ...bare, from };
    for (const to of strangersTo(one.to)) yield { ...bare, to };
    yield { ...bare, from: one.to, to: one.from };
    yield* otherRequests(one);
  }
  yield* everybodyToEverybody(accepted);
}

function* otherRequests(one: Observed): Generator<Observed> {
  const { http, dns } = one;
  if (http) {
    yield { ...one, http: { ...http, method: "TRACE" } };
    yield { ...one, http: { ...http, path: `${http.path.split("?")[0]}/never/seen` } };
  }
  if (dns) yield { ...one, dns: `never-seen.${dns}` };
}

/** All ends that were seen, on all ports that were. */
function* everybodyToEverybody(accepted: readonly Observed[]): Generator<Observed> {
  const ends = new Map(accepted.flatMap(({ from, to }) => [from, to]).map((end) => [end.title, end]));
  const ports = new Map(accepted.map((one) => [portTitle(one), { ...one, http: undefined, dns: undefined }]));
  const pairs = [...ends.values()].flatMap((from) => [...ends.values()].filter((to) => to !== from).map((to) => ({ from, to })));
  for (const pair of pairs) for (const one of ports.values()) yield { ...one, ...pair };
}

function* otherPorts(bare: Observed): Generator<Observed> {
  const { protocol, port } = bare;
  if (protocol === protocolNumber.ICMP || protocol === protocolNumber.ICMPv6) {
    yield { ...bare, port: port === 8 ? 13 : 8 };
    return;
  }
  for (const next of [port + 1, 1]) if (next <= 0xffff) yield { ...bare, port: next };
  for (const other of [protocolNumber.TCP, protocolNumber.UDP]) if (other !== protocol) yield { ...bare, protocol: other };
}

/** Ends like this one that nobody has seen: another workload beside it, its namesake in another namespace, another address or name. */
function strangersTo(end: End): End[] {
  if (end.kind === "pod") {
    const beside = replaced(end.labels, (key) => !key.startsWith("io."), [["app", "never-seen"]]);
    const elsewhere = replaced(end.labels, (key) => key === labelKey.namespace || key.startsWith("io.cilium.k8s.namespace."), [
      [labelKey.namespace, "never-seen"],
      ["io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name", "never-seen"],
    ]);
    return [strangerOf(end, end.namespace, beside), strangerOf(end, "never-seen", elsewhere)];
  }
  if (end.kind === "entity") return [];
  return [
    {
      kind: "outside",
      address: IpAddress("203.0.113.254"),
      names: end.names.length > 0 ? ["never-seen.example"] : [],
      title: "203.0.113.254",
    },
  ];
}

function strangerOf(like: Pod, namespace: string, labels: LabelSet): Pod {
  return { ...like, namespace, workload: "never-seen", labels, title: `${namespace}/never-seen` };
}

function replaced(labels: LabelSet, isGone: (key: string) => boolean, more: readonly (readonly [string, string])[]): LabelSet {
  return labelSetOf([...labels.labels.filter(({ key }) => !isGone(key)), ...more.map(([key, value]) => label(key, value))]);
}
