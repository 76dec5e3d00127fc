import { createHash } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { cidrLabels } from "#identity/cidr.ts";
import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse/parse.ts";
import { createRepository, type Repository } from "#policy/resolve/repository.ts";
import { applyIdentityChanges, type EndpointPolicy, resolveEndpoint, type Subject } from "#policy/resolve/resolve.ts";
import { verdict } from "#policy/resolve/verdict.ts";
import { createSelectorCache, type IdentityEntry, type SelectorCache, usersOf } from "#policy/selectors/selector-cache.ts";
import type { Direction } from "#types/direction.ts";
import { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import { type Benchmark, quantile, type Row } from "./row.ts";

// The inputs are given by formulas, so that any engine can be measured on the same ones.
const tiers = ["frontend", "backend", "data", "ops"];
const environments = ["prod", "staging", "dev"];
const div = (a: number, b: number) => Math.floor(a / b);

function identity(i: number, id: number, ...extra: string[]): IdentityEntry {
  const n = i % 50;
  const a = div(i, 50) % 40;
  const labels = labelSet([
    `k8s:io.kubernetes.pod.namespace=ns-${n}`,
    "k8s:io.cilium.k8s.policy.cluster=default",
    `k8s:io.cilium.k8s.policy.serviceaccount=sa-${i % 7}`,
    `k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=ns-${n}`,
    `k8s:io.cilium.k8s.namespace.labels.env=${environments[n % 3]}`,
    `k8s:app=app-${a}`,
    `k8s:tier=${tiers[a % 4]}`,
    `k8s:version=v${i % 3}`,
    `k8s:group=g${div(i, 2000)}`,
    ...extra,
  ]);
  return { id: NumericIdentity(id), labels };
}

function identities(count: number): IdentityEntry[] {
  const families = { ipv4: true, ipv6: false };
  const blocks = Array.from({ length: 256 }, (_, x) => [
    { id: NumericIdentity(16777217 + 2 * x), labels: cidrLabels(Prefix(`10.${x}.0.0/16`), families) },
    { id: NumericIdentity(16777218 + 2 * x), labels: cidrLabels(Prefix(`10.${x}.128.0/17`), families) },
  ]);
  return [...Array.from({ length: count }, (_, i) => identity(i, 1000 + i)), ...blocks.flat()];
}

function ruleOf(n: number, k: number): Record<string, unknown> {
  const ports = (port: number) => [{ ports: [{ port: String(port), protocol: "TCP" }] }];
  const tier = tiers[k % 4];
  const from = (matchLabels: Record<string, unknown>) => [{ matchLabels }];
  switch (k % 10) {
    case 3:
      return {
        ingress: [
          {
            fromEndpoints: from({ tier }),
            toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ method: "GET", path: "/api/.*" }] } }],
          },
        ],
      };
    case 4:
    case 5:
      return { ingress: [{ fromEndpoints: from({ "k8s:io.kubernetes.pod.namespace": `ns-${(n + k) % 50}`, tier }), toPorts: ports(443) }] };
    case 6: {
      const matchExpressions = [{ key: "k8s:io.cilium.k8s.namespace.labels.env", operator: "In", values: ["prod"] }];
      return { egress: [{ toEndpoints: [{ matchLabels: { tier }, matchExpressions }], toPorts: ports(9000) }] };
    }
    case 7: {
      const x = (10 * n + div(k, 10)) % 256;
      return { egress: [{ toCIDRSet: [{ cidr: `10.${x}.0.0/16`, except: [`10.${x}.128.0/17`] }] }] };
    }
    case 8:
      return { ingressDeny: [{ fromEndpoints: from({ version: "v2" }) }] };
    case 9:
      return { ingress: [{ fromEntities: ["host", "remote-node", "kube-apiserver"], toPorts: ports(10250) }] };
    default:
      return { ingress: [{ fromEndpoints: from({ app: `app-${(7 * k + 3) % 40}` }), toPorts: ports(8000 + (k % 20)) }] };
  }
}

/** Policy `j` of the benchmark. */
export function benchmarkPolicy(j: number): Record<string, unknown> {
  const n = j % 50;
  const k = div(j, 50);
  const endpointSelector = k % 3 === 0 ? {} : { matchLabels: { app: `app-${(3 * k) % 40}` } };
  return {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: `p-${j}`, namespace: `ns-${n}` },
    spec: { endpointSelector, ...ruleOf(n, k) },
  };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

/** The hash by which two engines know that they were given the same policies. */
export function inputHash(policies: readonly unknown[]): string {
  const hash = createHash("sha256");
  for (const one of policies) hash.update(`${JSON.stringify(sorted(one))}\n`);
  return hash.digest("hex");
}

type World = { readonly repo: Repository; readonly cache: SelectorCache; readonly subjects: readonly Subject[] };

/** The answers by which an engine that is measured proves itself: allowed flows on ingress, on egress, and to address blocks. */
export function answers({ cache, subjects }: World, policies: readonly EndpointPolicy[]): [number, number, number] {
  const count: [number, number, number] = [0, 0, 0];
  const allowed = (policy: EndpointPolicy, direction: Direction, id: number, port: number) =>
    verdict(policy, { direction, identity: NumericIdentity(id), protocol: protocolNumber.TCP, port }).verdict === "denied" ? 0 : 1;
  for (const [s] of subjects.entries()) {
    const policy = policies[s];
    if (policy === undefined || cache === undefined) continue;
    for (let i = 0; i < 1000; i++) {
      for (const port of [80, 443, 8000, 8005, 9000, 10250]) {
        count[0] += allowed(policy, "ingress", 1000 + i, port);
        count[1] += allowed(policy, "egress", 1000 + i, port);
      }
    }
    for (let i = 0; i < 512; i++) count[2] += allowed(policy, "egress", 16777217 + i, 443);
  }
  return count;
}

/** Milliseconds of this thread's processor time: what else runs on the machine does not count, and the engine uses one thread. */
function timed<T>(run: () => T): [T, number] {
  const start = process.threadCpuUsage();
  const value = run();
  const { user, system } = process.threadCpuUsage(start);
  return [value, (user + system) / 1000];
}

const subjectsOf = (entries: readonly IdentityEntry[], identityCount: number) =>
  Array.from({ length: 100 }, (_, s): Subject => {
    const entry = entries[(div(s * identityCount, 100) + s) % identityCount];
    if (entry === undefined) throw new Error("no such identity");
    return { identity: entry.id, labels: entry.labels, namedPorts: [] };
  });

/** 200 identities come one by one: mean milliseconds for the cache and 100 maps, and the rows written. */
function addIdentities(
  identityCount: number,
  cache: SelectorCache,
  policies: readonly EndpointPolicy[],
): { mean: number; changed: number } {
  const added = Array.from({ length: 200 }, (_, q) => identity(identityCount + q, 40000 + q, `k8s:extra=x${q}`));
  const [changed, took] = timed(() => {
    let rows = 0;
    for (const entry of added) {
      const changes = cache.update({ add: [entry] });
      const touched = usersOf(changes);
      for (const policy of policies) if (touched.has(policy)) rows += applyIdentityChanges(policy, cache, changes).added.length;
    }
    return rows;
  });
  return { mean: took / added.length, changed };
}

/** 50 policies are replaced one by one: mean milliseconds until the subjects that each concerns are resolved again, and how many these are. */
function changeRules(repo: Repository, cache: SelectorCache, subjects: readonly Subject[]): { mean: number; touched: number } {
  const changed = Array.from({ length: 50 }, (_, j) => parsePolicy(benchmarkPolicy(j * 17)));
  const [touched, took] = timed(() => {
    let [now, count] = [repo, 0];
    for (const one of changed) {
      now = now.with(one);
      for (const subject of subjects) {
        if (!now.concerns(one, subject.labels, subject.identity)) continue;
        count += 1;
        resolveEndpoint(now, cache, subject).release();
      }
    }
    return count;
  });
  return { mean: took / changed.length, touched: touched / changed.length };
}

type Times = Readonly<Record<"loading" | "parsing" | "inserting" | "first" | "second" | "addition" | "change" | "lookup", number>>;

/** One size of the benchmark, once; milliseconds, but `lookup`: nanoseconds. */
function measureOnce(identityCount: number, policyCount: number, tell: (text: string) => void, check: boolean): Times {
  const objects = Array.from({ length: policyCount }, (_, j) => benchmarkPolicy(j));
  const cache = createSelectorCache();
  const entries = identities(identityCount);
  const [, loading] = timed(() => cache.update({ add: entries }));
  const [parsed, parsing] = timed(() => objects.map((one) => parsePolicy(one)));
  const [repo, inserting] = timed(() => createRepository().with(...parsed));
  const subjects = subjectsOf(entries, identityCount);
  const [policies, first] = timed(() => subjects.map((one) => resolveEndpoint(repo, cache, one)));
  const [, again] = timed(() => {
    for (const one of subjects) resolveEndpoint(repo, cache, one).release();
  });
  if (check) tell(`input ${inputHash(objects).slice(0, 16)}, answers ${answers({ repo, cache, subjects }, policies).join(", ")}`);
  const [, asked] = timed(() => answers({ repo, cache, subjects: subjects.slice(0, 5) }, policies));
  const change = changeRules(repo, cache, subjects);
  const addition = addIdentities(identityCount, cache, policies);
  if (check) tell(`a changed policy concerns ${change.touched.toFixed(1)} of 100 subjects; ${addition.changed} rows for 200 identities`);
  return {
    ...{ loading, parsing, inserting, first, second: again / 100 },
    ...{ addition: addition.mean, change: change.mean, lookup: (asked / (5 * 12_512)) * 1e6 },
  };
}

/** The median of some runs in one process, as the engine of an agent is: the first of them begins with colder code, and is shown apart. */
export function measure(
  size: readonly [identities: number, policies: number],
  runs: number,
  tell: (text: string) => void,
): Times & { readonly cold: number } {
  const [identityCount, policyCount] = size;
  const all = Array.from({ length: runs }, (_, i) => measureOnce(identityCount, policyCount, tell, i === 0));
  const median = (of: keyof Times) =>
    quantile(
      all.map((one) => one[of]),
      0.5,
    );
  const names = ["loading", "parsing", "inserting", "first", "second", "addition", "change", "lookup"] as const;
  const times = Object.fromEntries(names.map((name) => [name, median(name)])) as Times;
  return { ...times, cold: all[0]?.first ?? 0 };
}

/** 10,000 rules, 1000 identities: everything computed from the policies' objects, for 100 endpoints. Milliseconds, and bytes a rule and an identity. */
export function fullCompute(): { readonly took: number; readonly perRule: number; readonly perIdentity: number } {
  const objects = Array.from({ length: 10_000 }, (_, j) => benchmarkPolicy(j));
  const before = heapUsed();
  const entries = identities(1000);
  const subjects = subjectsOf(entries, 1000);
  const cache = createSelectorCache();
  cache.update({ add: entries });
  const withIdentities = heapUsed();
  const [kept, took] = timed(() => {
    const repo = createRepository().with(...objects.map((one) => parsePolicy(one)));
    return { repo, policies: subjects.map((one) => resolveEndpoint(repo, cache, one)) };
  });
  const withAll = heapUsed();
  if (kept.policies.length !== subjects.length) throw new Error("every subject needs a policy");
  return { took, perRule: (withAll - withIdentities) / objects.length, perIdentity: (withIdentities - before) / entries.length };
}

function heapUsed(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

/**
 * Cilium 1.20-pre's own engine on the same inputs and machine class, milliseconds: total of 100 first resolves, mean of a second one, mean of an addition
 * to 100 maps, parsing.
 */
const reference = [
  { size: [1000, 1000], first: 24.69, second: 0.112, addition: 0.066, parsing: 19.7 },
  { size: [1000, 5000], first: 187.07, second: 0.375, addition: 0.254, parsing: 100.2 },
  { size: [5000, 1000], first: 66.83, second: 0.262, addition: 0.05, parsing: 20.2 },
  { size: [5000, 5000], first: 824.25, second: 0.584, addition: 0.215, parsing: 100.2 },
  { size: [20_000, 1000], first: 298.69, second: 0.687, addition: 0.07, parsing: 23.3 },
  { size: [20_000, 5000], first: 3920.83, second: 1.87, addition: 0.203, parsing: 103.6 },
] as const;

const RUNS = 7;
const peerName = "Cilium 1.20-pre (measured before, same inputs)";

export const benchmark: Benchmark = {
  name: "policy",
  about: "the policy engine: 100 endpoints resolved, identities added and policies changed one by one; processor time of its one thread",
  run: async (tell) => {
    const rows: Row[] = [];
    for (const { size, ...peer } of reference) {
      const times = measure(size, RUNS, tell);
      const name = `${size[0]} identities, ${size[1]} policies`;
      const row = (what: string, ours: number, other?: number): Row => ({
        ...{ name: `${what}: ${name}`, unit: "ms", ours },
        ...(other === undefined ? {} : { peer: other, peerName, goal: 1 }),
      });
      rows.push(row("resolve 100 endpoints", times.first, peer.first), row(`… the first of ${RUNS} runs`, times.cold));
      rows.push(
        row("resolve one, selectors known", times.second, peer.second),
        row("add an identity to 100 maps", times.addition, peer.addition),
      );
      rows.push(row("parse and check", times.parsing, peer.parsing), row("change a policy", times.change));
      tell(`loading ${times.loading.toFixed(1)} ms, inserting ${times.inserting.toFixed(1)} ms, one look-up ${times.lookup.toFixed(0)} ns`);
    }
    const full = fullCompute();
    rows.push({ name: "10,000 rules, 1000 identities: everything, 100 endpoints", unit: "ms", ours: full.took, goal: 1000 });
    rows.push({ name: "memory of a rule, its share of 100 policies included", unit: "bytes", ours: full.perRule });
    rows.push({ name: "memory of an identity", unit: "bytes", ours: full.perIdentity });
    return rows;
  },
};
