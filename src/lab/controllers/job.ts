import { type Cluster, unlessGone } from "../cluster.ts";
import { isActive, type Job, type Pod, splitKey } from "../objects.ts";
import { type ControllerDeps, startController } from "./controller.ts";
import { itself, ownedBy, ownedByKind, podOf } from "./owned.ts";
import { condition, timestamp, writeStatus } from "./status.ts";

/** Runs the pods of each Job until enough have succeeded or too many have failed. */
export function startJobs(deps: ControllerDeps): Disposable {
  return startController(deps, {
    name: "job",
    sources: [itself("jobs.batch"), ownedByKind("pods", "Job")],
    reconcile: (key) => reconcile(deps.cluster, key),
  });
}

function reconcile(cluster: Cluster, key: string): number | undefined {
  const { namespace, name } = splitKey(key);
  const job = cluster.get<Job>("jobs.batch", name, namespace);
  if (!job || job.metadata.deletionTimestamp) return undefined;
  if (job.status?.conditions?.length) return expire(cluster, job);
  const pods = ownedBy<Pod>(cluster, "pods", job);
  const succeeded = pods.filter((pod) => pod.status?.phase === "Succeeded").length;
  const failed = pods.filter((pod) => pod.status?.phase === "Failed").length;
  const active = pods.filter(isActive);
  const wanted = job.spec.completions ?? 1;
  const failure = failed > (job.spec.backoffLimit ?? 6);
  const done = succeeded >= wanted;
  if (!done && !failure && !job.spec.suspend) {
    const missing = Math.min(job.spec.parallelism ?? 1, wanted - succeeded) - active.length;
    for (let count = 0; count < missing; count++) {
      const labels = {
        "job-name": name,
        "batch.kubernetes.io/job-name": name,
        "batch.kubernetes.io/controller-uid": job.metadata.uid,
        "controller-uid": job.metadata.uid,
      };
      cluster.create("pods", podOf(job, job.spec.template, { labels }));
    }
  }
  if (failure) for (const pod of active) unlessGone(() => cluster.delete("pods", pod.metadata.name, namespace));
  report(cluster, job, { succeeded, failed, done, failure });
  return undefined;
}

interface Progress {
  readonly succeeded: number;
  readonly failed: number;
  readonly done: boolean;
  readonly failure: boolean;
}

function report(cluster: Cluster, before: Job, { succeeded, failed, done, failure }: Progress): void {
  const { namespace, name } = before.metadata;
  const job = cluster.get<Job>("jobs.batch", name, namespace);
  if (!job) return;
  const ended = done
    ? { type: "Complete", status: "True", reason: "CompletionsReached", message: "Reached expected number of succeeded pods" }
    : { type: "Failed", status: "True", reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
  writeStatus(cluster, "jobs.batch", job, {
    startTime: job.status?.startTime ?? timestamp(),
    active: ownedBy<Pod>(cluster, "pods", job).filter(isActive).length,
    succeeded,
    failed,
    ...(done || failure ? { conditions: [condition(undefined, ended)] } : {}),
    ...(done ? { completionTime: timestamp() } : {}),
  });
}

function expire(cluster: Cluster, job: Job): number | undefined {
  const seconds = job.spec.ttlSecondsAfterFinished;
  if (seconds === undefined) return undefined;
  const left = Date.parse(job.status?.completionTime ?? timestamp()) + seconds * 1000 - Date.now();
  if (left > 0) return left;
  unlessGone(() => cluster.delete("jobs.batch", job.metadata.name, job.metadata.namespace, { propagationPolicy: "Background" }));
  return undefined;
}
