import { createHash } from "node:crypto";
import { cidrLabels } from "#identity/cidr.ts";
import { labelSet } from "#labels/label-set.ts";
import { parsePolicy } from "#policy/parse.ts";
import { createRepository, type Repository } from "#policy/repository.ts";
import { applyIdentityChanges, type EndpointPolicy, resolveEndpoint, type Subject } from "#policy/resolve.ts";
import { createSelectorCache, type IdentityEntry, type SelectorCache, usersOf } from "#policy/selector-cache.ts";
import { verdict } from "#policy/verdict.ts";
import type { Direction } from "#types/direction.ts";
import { NumericIdentity } from "#types/identity.ts";
import { Prefix } from "#types/prefix.ts";
import { protocolNumber } from "#types/proto.ts";
import type { Benchmark, Row } from "./row.ts";

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

export function identities(count: number): IdentityEntry[] {
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

/** One size of the benchmark. */
export function measure(identityCount: number, policyCount: number, tell: (text: string) => void, check: boolean): Record<string, number> {
  const objects = Array.from({ length: policyCount }, (_, j) => benchmarkPolicy(j));
  tell(`input ${inputHash(objects).slice(0, 16)}`);
  const cache = createSelectorCache();
  const entries = identities(identityCount);
  const [, loading] = timed(() => cache.update({ add: entries }));
  const [parsed, parsing] = timed(() => objects.map((one) => parsePolicy(one)));
  const repo = createRepository().with(...parsed);
  const subjects = Array.from({ length: 100 }, (_, s): Subject => {
    const entry = entries[(div(s * identityCount, 100) + s) % identityCount];
    if (entry === undefined) throw new Error("no such identity");
    return { identity: entry.id, labels: entry.labels, namedPorts: [] };
  });
  const [policies, first] = timed(() => subjects.map((one) => resolveEndpoint(repo, cache, one)));
  const [, second] = timed(() => {
    for (const one of subjects) resolveEndpoint(repo, cache, one).release();
  });
  if (check) tell(`answers ${answers({ repo, cache, subjects }, policies).join(", ")}`);
  const additions: number[] = [];
  let changed = 0;
  for (let q = 0; q < 200; q++) {
    const entry = identity(identityCount + q, 40000 + q, `k8s:extra=x${q}`);
    const [, took] = timed(() => {
      const changes = cache.update({ add: [entry] });
      const touched = usersOf(changes);
      for (const policy of policies) if (touched.has(policy)) changed += applyIdentityChanges(policy, cache, changes).added.length;
    });
    additions.push(took);
  }
  additions.sort((a, b) => a - b);
  const mean = additions.reduce((a, b) => a + b, 0) / additions.length;
  return { loading, parsing, first, second: second / 100, addition: mean, additionP95: additions[189] ?? 0, changed };
}

/** Cilium 1.20-pre's own engine on the same inputs and machine (ms): total of 100 first resolves, mean of an addition to 100 maps. */
const reference: Readonly<Record<string, readonly [first: number, addition: number]>> = {
  "1000/1000": [24.69, 0.066],
  "1000/5000": [187.07, 0.254],
  "5000/5000": [824.25, 0.215],
  "20000/5000": [3920.83, 0.203],
};

const peerName = "Cilium 1.20-pre (measured before, same inputs)";

export const benchmark: Benchmark = {
  name: "policy",
  about: "the policy engine: 100 endpoints resolved, identities added one by one",
  run: async (tell) => {
    const rows: Row[] = [];
    for (const [size, [first, addition]] of Object.entries(reference)) {
      const [identityCount = 0, policyCount = 0] = size.split("/").map(Number);
      const result = measure(identityCount, policyCount, tell, identityCount === 5000);
      tell(`${size} ${JSON.stringify(result)}`);
      const name = `${identityCount} identities, ${policyCount} policies`;
      rows.push({ name: `resolve 100 endpoints: ${name}`, unit: "ms", ours: result.first ?? 0, peer: first, peerName, goal: 1 });
      rows.push({
        name: `add an identity to 100 maps: ${name}`,
        unit: "ms",
        ours: result.addition ?? 0,
        peer: addition,
        peerName,
        goal: 1,
      });
    }
    return rows;
  },
};
