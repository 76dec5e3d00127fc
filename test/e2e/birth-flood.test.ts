import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { type Cluster, openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import { startReflector } from "#k8s/reflector.ts";
import { NODES, PODS } from "#k8s/resources.ts";
import type { Pod } from "#k8s/types.ts";
import { silentLogger } from "#runtime/logger.ts";
import { type Lab, root, startLab } from "./lab.ts";

const MANIFEST = `${root}test/e2e/manifests/birth-flood.yaml`;
const PROBE = `${root}test/e2e/birth-flood.pl`;
const BATCHES = 5;
const BATCH_SIZE = 40;
const FLOOD_PORT = "7000";
const LISTEN_PORT = "7001";
/** Datagrams a second of each flooder, at the most: every address of the node is hit up to twenty times a second by each. */
const RATE = "5000";
const LIFE_SECONDS = "0.6";
const BATCH_TIMEOUT_MS = 90_000;

function podObject(namespace: string, name: string, nodeName: string, labels: Record<string, string>, command: readonly string[]): Pod {
  const container = { name: "main", image: "ghcr.io/nicolaka/netshoot", command: [...command] };
  const spec = { nodeName, restartPolicy: "Never", terminationGracePeriodSeconds: 0, containers: [container] };
  return { metadata: { namespace, name, labels }, spec } as Pod;
}

/** The pods of a namespace as the API server has them; `until` resolves with them once they are as wanted. */
function watchPods(cluster: Cluster, namespace: string): AsyncDisposable & { until(wanted: (pods: Pod[]) => boolean): Promise<Pod[]> } {
  const pods = new Map<string, Pod>();
  let changed = () => {};
  const put = (pod: Pod) => pods.set(pod.metadata.name ?? "", pod);
  const tell = <T extends unknown[]>(change: (...args: T) => void) => {
    return (...args: T) => {
      change(...args);
      changed();
    };
  };
  const reflector = startReflector(
    { cluster, log: silentLogger },
    PODS,
    { namespace },
    {
      replace: tell((all) => {
        pods.clear();
        for (const pod of all) put(pod);
      }),
      upsert: tell(put),
      remove: tell(({ metadata }) => pods.delete(metadata.name ?? "")),
    },
  );
  return {
    async until(wanted) {
      const limit = AbortSignal.timeout(BATCH_TIMEOUT_MS);
      while (!wanted([...pods.values()])) {
        await new Promise<void>((resolve, reject) => {
          changed = resolve;
          const told = [...pods.values()].map(({ metadata, status }) => `${metadata.name} ${status?.phase}`).join(", ");
          limit.addEventListener("abort", () => reject(new Error(`still: ${told}`)), { once: true });
        });
      }
      return [...pods.values()];
    },
    [Symbol.asyncDispose]: () => reflector[Symbol.asyncDispose](),
  };
}

describe("pods that are born while others flood their addresses", () => {
  let lab: Lab;
  let cluster: Cluster;
  const flooders: ChildProcess[] = [];
  const addresses: string[] = [];
  let node = "";
  let heard = "";

  const startFlooder = async (name: string, nodeName: string, prefix: string) => {
    await cluster.create(PODS, podObject("flood", name, nodeName, { app: name }, ["sleep", "infinity"]));
    await using pods = watchPods(cluster, "flood");
    const running = await pods.until((all) => all.some(({ metadata, status }) => metadata.name === name && status?.phase === "Running"));
    addresses.push(running.find(({ metadata }) => metadata.name === name)?.status?.podIP ?? "");
    const command = ["perl", PROBE, "flood", prefix, FLOOD_PORT, LISTEN_PORT, RATE];
    const child = spawn("kubectl", ["-n", "flood", "exec", name, "--", ...command], { env: lab.env, stdio: ["ignore", "pipe", "inherit"] });
    flooders.push(child);
    child.stdout.on("data", (chunk: Buffer) => {
      heard += chunk.toString("utf8");
    });
    await once(child.stdout, "data");
  };

  before(async () => {
    lab = await startLab("--nodes", "2");
    cluster = openCluster(await loadClusterConfig({ kubeconfig: lab.env.KUBECONFIG }));
    const applied = await lab.kubectl("apply", "-f", MANIFEST);
    assert.equal(applied.code, 0, applied.stderr);
    const valid = await lab.kubectl("-n", "nursery", "wait", "--for=condition=Valid", "cnp", "--all", "--timeout=90s");
    assert.equal(valid.code, 0, valid.stderr);
    const { items: nodes } = await cluster.list(NODES);
    const worker = nodes.find(({ metadata }) => metadata.name === "cilia-worker");
    assert.ok(worker, "the lab has a worker");
    node = worker.metadata.name ?? "";
    const prefix = (worker.spec?.podCIDR ?? "").split(".").slice(0, 3).join(".");
    await startFlooder("near", node, prefix);
    await startFlooder("far", "cilia-control-plane", prefix);
  });
  after(async () => {
    for (const child of flooders) child.kill();
    cluster?.[Symbol.dispose]();
    await lab?.[Symbol.asyncDispose]();
  });

  it(`${BATCHES * BATCH_SIZE} newborns get and send no packet before their policy is in the kernel`, async () => {
    const witnesses: string[] = [];
    await using pods = watchPods(cluster, "nursery");
    for (let batch = 0; batch < BATCHES; batch += 1) {
      // Labels of its own give each batch identities that nobody knows yet.
      const born = (name: string, role: string) =>
        cluster.create(
          PODS,
          podObject("nursery", name, node, { role, batch: String(batch) }, [
            ...["perl", PROBE, "newborn", name, FLOOD_PORT, LISTEN_PORT, LIFE_SECONDS, ...addresses],
          ]),
        );
      const names = Array.from({ length: BATCH_SIZE }, (_, i) => `newborn-${batch}-${i}`);
      const witness = `witness-${batch}`;
      witnesses.push(witness);
      await Promise.all([...names.map((name) => born(name, "newborn")), born(witness, "witness")]);
      const ended = await pods.until(
        (all) => all.length > BATCH_SIZE && all.every(({ status }) => status?.phase === "Succeeded" || status?.phase === "Failed"),
      );
      // A probe that got anything exits with 3.
      const reached = ended.filter(({ status }) => status?.phase === "Failed").map(({ metadata }) => metadata.name);
      assert.deepEqual(reached, [witness], "only the witness, which may be reached, was");
      // The next batch gets the same addresses again.
      await Promise.all(ended.map(({ metadata }) => cluster.delete(PODS, { namespace: "nursery", name: metadata.name ?? "" })));
      await pods.until((all) => all.length === 0);
    }
    const senders = new Set([...heard.matchAll(/^heard (.+)$/gm)].map(([, name]) => name));
    assert.deepEqual([...senders].sort(), witnesses, "the flooders heard the witnesses and nobody else");
    assert.equal(heard.match(/^flooding$/gm)?.length, 2);
    for (const child of flooders) assert.equal(child.exitCode, null, "the flooders ran to the end");
  });
});
