import type { Cluster } from "#k8s/client.ts";
import { startReflector } from "#k8s/reflector.ts";
import { CILIUM_NETWORK_POLICIES, PODS } from "#k8s/resources.ts";
import type { KubeObject, Pod } from "#k8s/types.ts";
import { silentLogger } from "#runtime/logger.ts";
import { type Lab, startLab } from "../test/e2e/lab.ts";
import { kubectl, openLab, podNetns } from "./probe/cluster.ts";
import { type Stream, startStream } from "./probe/stream.ts";
import { type Benchmark, percentiles, type Row } from "./row.ts";

const MANIFEST = new URL("manifests/lab.yaml", import.meta.url).pathname;
const BIRTHS = 50;
const APPLIES = 30;
const PORT = 7000;
const INTERVAL_US = 500;

/** When objects of a name were first seen in a state, in milliseconds of `performance.now()`. */
class Sightings<T extends KubeObject> implements AsyncDisposable {
  readonly #seen = new Map<string, number>();
  readonly #reflector: ReturnType<typeof startReflector>;
  #changed = () => {};

  constructor(cluster: Cluster, resource: Parameters<typeof startReflector<T>>[1], counts: (object: T) => boolean) {
    const look = (object: T) => {
      const name = object.metadata.name ?? "";
      if (this.#seen.has(name) || !counts(object)) return;
      this.#seen.set(name, performance.now());
      this.#changed();
    };
    this.#reflector = startReflector(
      { cluster, log: silentLogger },
      resource,
      { namespace: "bench" },
      {
        replace: (all) => all.forEach(look),
        upsert: look,
        remove: () => {},
      },
    );
  }

  get synced(): Promise<void> {
    return this.#reflector.synced;
  }

  async of(name: string): Promise<number> {
    for (;;) {
      const at = this.#seen.get(name);
      if (at !== undefined) return at;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reflector[Symbol.asyncDispose]();
  }
}

/** Pods one after another: from the request to Running as a client of the API server sees it, and ADD by the agents' own logs. */
async function measureBirths(lab: Lab, cluster: Cluster): Promise<Row[]> {
  await using running = new Sightings<Pod>(cluster, PODS, ({ status }) => status?.phase === "Running");
  await running.synced;
  const took: number[] = [];
  for (let i = 0; i < BIRTHS; i += 1) {
    const name = `born-${i}`;
    const container = { name: "main", image: "registry.k8s.io/pause:3.10" };
    const spec = { terminationGracePeriodSeconds: 0, containers: [container] };
    const started = performance.now();
    await cluster.create(PODS, { metadata: { namespace: "bench", name, labels: { app: "born" } }, spec } as Pod);
    took.push((await running.of(name)) - started);
  }
  const logs = await kubectl(lab, "-n", "kube-system", "logs", "-l", "k8s-app=cilium", "--tail=-1");
  const added = logs.split("\n").flatMap((line) => {
    if (!line.includes("endpoint created") || !line.includes("bench/born-")) return [];
    return [(JSON.parse(line) as { readonly ms: number }).ms];
  });
  if (added.length !== BIRTHS) throw new Error(`the agents' logs tell of ${added.length} births, not of ${BIRTHS}`);
  return [
    ...percentiles({ name: "lab/cni-add", unit: "ms", note: `in the agent, ${BIRTHS} pods one after another` }, added, { p50: 3, p99: 15 }),
    ...percentiles({ name: "lab/pod-running", unit: "ms", note: "create request to Running in the API" }, took),
  ];
}

/** From the request that changes the rules to the first datagram that obeys them: the receiver on another node than the sender. */
async function measurePolicies(cluster: Cluster, stream: Stream): Promise<Row[]> {
  const namespace = "bench";
  const times = { allow: [] as number[], deny: [] as number[], echo: [] as number[] };
  const from = [{ matchLabels: { app: "client" } }];
  const toPorts = [{ ports: [{ port: String(PORT), protocol: "UDP" }] }];
  const spec = { endpointSelector: { matchLabels: { app: "server" } }, ingress: [{ fromEndpoints: from, toPorts }] };
  await using echoes = new Sightings<KubeObject>(cluster, CILIUM_NETWORK_POLICIES, () => true);
  await echoes.synced;
  for (let i = 0; i < APPLIES; i += 1) {
    const name = `allow-${i}`;
    await stream.turned("denied");
    const applied = performance.now();
    const done = cluster.create(CILIUM_NETWORK_POLICIES, { metadata: { namespace, name }, spec });
    times.echo.push((await echoes.of(name)) - applied);
    times.allow.push((await stream.turned("allowed")) - applied);
    await done;
    const deleted = performance.now();
    await cluster.delete(CILIUM_NETWORK_POLICIES, { namespace, name });
    times.deny.push((await stream.turned("denied")) - deleted);
  }
  const goals = { p50: 3, p99: 15 };
  return [
    ...percentiles({ name: "lab/policy-allow", unit: "ms", note: "policy created to first packet through" }, times.allow, goals),
    ...percentiles({ name: "lab/policy-deny", unit: "ms", note: "policy deleted to first packet of a stream cut" }, times.deny, goals),
    ...percentiles({ name: "lab/policy-echo", unit: "ms", note: "policy created to its watch event" }, times.echo),
  ];
}

/** A lab of three nodes, everything of it on this machine. */
export const benchmark: Benchmark = {
  name: "lab",
  about: "a lab of three nodes: boot, births of pods, policies from request to packet",
  async run(progress): Promise<Row[]> {
    progress("booting a lab of three nodes");
    const started = performance.now();
    await using lab = await startLab();
    const boot = (performance.now() - started) / 1000;
    await kubectl(lab, "apply", "-f", MANIFEST);
    await kubectl(lab, "-n", "bench", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s");
    await kubectl(lab, "-n", "bench", "wait", "--for=condition=Valid", "cnp", "--all", "--timeout=30s");
    using cluster = await openLab(lab);
    const address = await kubectl(lab, "-n", "bench", "get", "pod", "server", "-o", "jsonpath={.status.podIP}");
    const [client, server] = [await podNetns("bench", "client"), await podNetns("bench", "server")];
    progress(`${APPLIES} policies`);
    const policies = await (async () => {
      await using stream = startStream(client, server, address, PORT, INTERVAL_US);
      // Awaited here: the stream ends with this scope.
      return await measurePolicies(cluster, stream);
    })();
    progress(`${BIRTHS} births`);
    const births = await measureBirths(lab, cluster);
    return [{ name: "lab/boot", unit: "s", ours: boot, goal: 10, note: "three nodes, every pod ready" }, ...births, ...policies];
  },
};
