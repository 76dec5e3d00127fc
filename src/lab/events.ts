import { type Cluster, isRefusal } from "./cluster.ts";
import { hashOf } from "./controllers/owned.ts";
import { timestamp } from "./controllers/status.ts";
import type { AnyObject } from "./objects.ts";

/** Who reports: shown by `kubectl describe` as the source. */
export interface EventRecorder {
  readonly component: string;
  readonly host?: string;
}

interface StoredEvent extends AnyObject {
  readonly count?: number;
}

/** Writes a Kubernetes event about an object; a repeated one is counted up. One that the API server refuses is lost. */
export function recordEvent(
  cluster: Cluster,
  source: EventRecorder,
  about: AnyObject,
  type: "Normal" | "Warning",
  reason: string,
  message: string,
): void {
  const namespace = about.metadata.namespace || "default";
  const name = `${about.metadata.name}.${hashOf([about.metadata.uid, source.component, reason, message])}`;
  const time = timestamp();
  try {
    const before = cluster.get<StoredEvent>("events", name, namespace);
    if (before) {
      cluster.patch("events", name, namespace, { count: (before.count ?? 1) + 1, lastTimestamp: time });
      return;
    }
    cluster.create("events", {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.metadata.name,
        namespace: about.metadata.namespace,
        uid: about.metadata.uid,
      },
      reason,
      message,
      type,
      source,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      reportingComponent: source.component,
      reportingInstance: source.host ?? "",
    });
  } catch (thrown) {
    // Events are told to whom it may concern; that one is refused must not stop the work it tells of.
    if (!isRefusal(thrown)) throw thrown;
  }
}
