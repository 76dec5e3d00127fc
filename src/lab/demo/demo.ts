import { setTimeout as delay } from "node:timers/promises";
import type { WriteStream } from "node:tty";
import { applyAll, deleteAll, isComplete, type Manifest } from "#k8s/apply.ts";
import { type Cluster, openCluster } from "#k8s/client.ts";
import { loadClusterConfig } from "#k8s/config.ts";
import { execInPod } from "#k8s/exec.ts";
import { PODS } from "#k8s/resources.ts";
import { LabError } from "../errors.ts";
import { paths } from "../paths.ts";
import { createProgress, type Progress } from "../progress.ts";
import { type WantedPolicy, waitEnforced } from "./agents.ts";
import { explainDenials } from "./denials.ts";
import { readExample } from "./manifests.ts";
import { type DemoStep, judge, PROBES, type Probe, type Seen, STEPS } from "./steps.ts";
import { formatHeading, formatReasons, formatRow, isAsExpected, painter, type Reasons, type Row } from "./table.ts";

export interface DemoOptions {
  readonly signal: AbortSignal;
  readonly out: WriteStream;
  readonly progress: WriteStream;
  /** Whether the lab stays up afterwards: the last lines then say how to use it. */
  readonly stays: boolean;
}

/** Walks the policy progression with real traffic and prints the table. True when every cell is as expected. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const { out } = options;
  const start = performance.now();
  const paint = painter(out.isTTY === true);
  const progress = createProgress(options.progress);
  using cluster = openCluster(await loadClusterConfig({ kubeconfig: paths.kubeconfig }));
  const walk = { cluster, progress, pods: new Map<string, string>() };
  await prepare(walk);
  out.write(`\n${formatHeading(paint)}\n`);
  let good = true;
  for (const [index, step] of STEPS.entries()) {
    if (options.signal.aborted) return false;
    const { row, reasons } = await runStep(walk, step);
    good &&= isAsExpected(step, row);
    out.write(`${[formatRow(index, step, row, paint), ...formatReasons(reasons, paint)].join("\n")}\n`);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  out.write(`\n${good ? paint("good", "every cell as expected") : paint("bad", "some cells are not as expected")} (${seconds} s)\n`);
  if (options.stays) out.write(FAREWELL);
  return good;
}

const FAREWELL = `
The cluster stays up, with the policies of the last step:
  eval "$(bin/cilium lab env)"       then kubectl, cilium and hubble are those of the lab
  kubectl get pods -A                what runs
  cilium status                      how Cilium is
  hubble observe --verdict DROPPED   what was denied
  bin/cilium lab down                ends it
`;

const MANAGER = "cilium-lab-demo";

interface Walk {
  readonly cluster: Cluster;
  readonly progress: Progress;
  /** Pod of each probing deployment, by namespace/app. */
  readonly pods: Map<string, string>;
}

async function prepare(walk: Walk): Promise<void> {
  const { cluster, progress } = walk;
  progress.step("deploying demo/frontend, demo/backend and attacker/attacker");
  const policies = STEPS.flatMap(({ file }) => (file ? readExample(file) : []));
  await deleteAll(cluster, policies);
  await applyAll(cluster, readExample("00-apps.yaml"), MANAGER);
  await waitDeployments(cluster, ["demo/frontend", "demo/backend", "attacker/attacker"], progress);
  await waitEnforced([], policies.map(identify));
  const places = new Set<string>();
  for (const { from } of PROBES) {
    const key = `${from.namespace}/${from.app}`;
    const { name, node } = await podOf(cluster, from);
    walk.pods.set(key, name);
    places.add(`${key} on ${node}`);
  }
  await waitReachable(walk);
  progress.done(`the demo runs: ${[...places].join(", ")}`);
}

const REACHABLE_MS = 10_000;

// Names and services of new workloads take a moment to be known everywhere; step 0 is not about that.
async function waitReachable(walk: Walk): Promise<void> {
  const deadline = Date.now() + REACHABLE_MS;
  const open = PROBES.filter(({ name }) => name === "get" || name === "attacker");
  while (Date.now() < deadline) {
    const seen = await Promise.all(open.map((probe) => runProbe(walk, probe)));
    if (seen.every((status) => status === "200")) return;
    await delay(100);
  }
}

const DEPLOYED_MS = 60_000;

async function waitDeployments(cluster: Cluster, keys: readonly string[], progress: Progress): Promise<void> {
  const deadline = Date.now() + DEPLOYED_MS;
  for (;;) {
    const states = await Promise.all(
      keys.map((key) => {
        const [namespace = "", name = ""] = key.split("/");
        return isComplete(cluster, { namespace, name });
      }),
    );
    const ready = states.filter(Boolean).length;
    if (ready === keys.length) return;
    progress.detail(`${ready}/${keys.length} ready`);
    if (Date.now() > deadline)
      throw new LabError("boot", `the demo's pods are not ready after ${DEPLOYED_MS / 1000} s: kubectl get pods -A`);
    await delay(100);
  }
}

async function podOf(cluster: Cluster, { namespace, app }: Probe["from"]): Promise<{ readonly name: string; readonly node: string }> {
  const { items } = await cluster.list(PODS, { namespace, labelSelector: `app=${app}` });
  const pod = items.find(({ metadata }) => !metadata.deletionTimestamp);
  if (!pod) throw new LabError("boot", `no pod of ${namespace}/${app}`);
  return { name: pod.metadata.name, node: pod.spec?.nodeName ?? "" };
}

function identify(object: Manifest): Omit<WantedPolicy, "generation"> {
  return { kind: object.kind, namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

async function runStep(walk: Walk, step: DemoStep): Promise<{ row: Row; reasons: Reasons }> {
  if (step.file) {
    const applied = await applyAll(walk.cluster, readExample(step.file), MANAGER);
    await waitEnforced(applied.map((object) => ({ ...identify(object), generation: object.metadata.generation ?? 1 })));
  }
  const since = new Date();
  const seen = await Promise.all(PROBES.map(async (probe) => [probe.name, await runProbe(walk, probe)] as const));
  const row = Object.fromEntries(seen) as Row;
  const denied = PROBES.filter(({ name }) => row[name] === "dropped" || row[name] === "403");
  const reasons = denied.length === 0 ? {} : await explainDenials(denied, walk.pods, since);
  return { row, reasons };
}

async function runProbe({ cluster, pods }: Walk, probe: Probe): Promise<Seen> {
  const pod = pods.get(`${probe.from.namespace}/${probe.from.app}`) ?? "";
  const { exitCode, stdout } = await execInPod(cluster.config, { namespace: probe.from.namespace, pod, command: probe.command });
  return judge(probe, exitCode, stdout);
}
