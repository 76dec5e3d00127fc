import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubeObject } from "../object.ts";
import { columnsOf } from "./builtin.ts";
import { humanDuration } from "./columns.ts";
import { customColumns } from "./custom.ts";
import { evaluatePath } from "./jsonpath.ts";
import { podStatus } from "./pods.ts";

const NOW = new Date("2026-01-02T00:00:00Z");
const object = (fields: object): KubeObject => ({
  apiVersion: "v1",
  kind: "Any",
  metadata: { name: "x", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T23:59:00Z" },
  ...fields,
});
const row = (group: string, kind: string, fields: object, all = true) =>
  columnsOf(group, kind)
    .filter(({ priority }) => all || priority === 0)
    .map((column) => column.cell(object(fields), NOW));

describe("durations", () => {
  const cases: readonly [seconds: number, text: string][] = [
    [-5, "<invalid>"],
    [0, "0s"],
    [119, "119s"],
    [120, "2m"],
    [200, "3m20s"],
    [3600, "60m"],
    [3 * 3600, "3h"],
    [5 * 3600 + 60, "5h1m"],
    [47 * 3600, "47h"],
    [50 * 3600, "2d2h"],
    [30 * 86_400, "30d"],
    [800 * 86_400, "2y70d"],
    [9 * 365 * 86_400, "9y"],
  ];
  for (const [seconds, text] of cases) it(`of ${seconds} s are ${text}`, () => assert.equal(humanDuration(seconds * 1000), text));
});

describe("a pod's status", () => {
  const state = (containers: object[], more: object = {}) =>
    podStatus(object({ spec: {}, status: { phase: "Running", containerStatuses: containers, ...more } }));
  it("is its phase", () => assert.equal(state([{ ready: true, state: { running: {} } }]), "Running"));
  it("is why a container waits", () => assert.equal(state([{ state: { waiting: { reason: "CrashLoopBackOff" } } }]), "CrashLoopBackOff"));
  it("is how a container ended", () => assert.equal(state([{ state: { terminated: { exitCode: 3 } } }]), "ExitCode:3"));
  it("tells how many init containers are done", () => {
    const pod = object({
      spec: { initContainers: [{ name: "a" }, { name: "b" }] },
      status: {
        phase: "Pending",
        initContainerStatuses: [
          { name: "a", state: { terminated: { exitCode: 0 } } },
          { name: "b", state: { running: {} } },
        ],
      },
    });
    assert.equal(podStatus(pod), "Init:1/2");
  });
  it("is Terminating when it is being deleted", () => {
    const pod = object({ status: { phase: "Running" } });
    pod.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
    assert.equal(podStatus(pod), "Terminating");
  });
});

describe("columns of built-in kinds", () => {
  it("of a pod", () => {
    const fields = {
      spec: { containers: [{ name: "a" }, { name: "b" }], nodeName: "n" },
      status: {
        phase: "Running",
        podIP: "10.0.0.1",
        containerStatuses: [
          {
            name: "a",
            ready: true,
            restartCount: 2,
            state: { running: {} },
            lastState: { terminated: { finishedAt: "2026-01-01T23:59:50Z" } },
          },
        ],
      },
    };
    assert.deepEqual(row("", "Pod", fields), ["x", "1/2", "Running", "2 (10s ago)", "60s", "10.0.0.1", "n", "<none>", "<none>"]);
  });
  it("of a service", () => {
    const fields = {
      spec: { type: "NodePort", clusterIP: "10.96.0.5", selector: { a: "b" }, ports: [{ port: 80, nodePort: 30080, protocol: "TCP" }] },
    };
    assert.deepEqual(row("", "Service", fields), ["x", "NodePort", "10.96.0.5", "<none>", "80:30080/TCP", "60s", "a=b"]);
  });
  it("of a node", () => {
    const fields = {
      status: {
        conditions: [{ type: "Ready", status: "True" }],
        nodeInfo: { kubeletVersion: "v1" },
        addresses: [{ type: "InternalIP", address: "1.2.3.4" }],
      },
      spec: { unschedulable: true },
    };
    assert.deepEqual(row("", "Node", fields, false), ["x", "Ready,SchedulingDisabled", "<none>", "60s", "v1"]);
  });
  it("of a deployment and a daemon set", () => {
    const template = { spec: { containers: [{ name: "c", image: "i" }] } };
    assert.deepEqual(
      row("apps", "Deployment", {
        spec: { replicas: 3, template, selector: { matchLabels: { a: "b" } } },
        status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 },
      }),
      ["x", "1/3", 2, 1, "60s", "c", "i", "a=b"],
    );
    assert.deepEqual(row("apps", "DaemonSet", { spec: { template }, status: { desiredNumberScheduled: 3 } }, false), [
      "x",
      3,
      0,
      0,
      0,
      0,
      "<none>",
      "60s",
    ]);
  });
  it("of an event", () => {
    const fields = {
      type: "Warning",
      reason: "Failed",
      message: " text\n",
      involvedObject: { kind: "Pod", name: "p" },
      lastTimestamp: "2026-01-01T23:59:30Z",
      firstTimestamp: "2026-01-01T23:00:00Z",
      count: 4,
    };
    assert.deepEqual(row("", "Event", fields, false), ["30s (x4 over 60m)", "Warning", "Failed", "pod/p", "text"]);
  });
  it("never fail on an object without content", () => {
    for (const [group, kind] of ALL) assert.equal(row(group, kind, {}).includes("undefined"), false, `${group}/${kind}`);
  });
});

const ALL: readonly (readonly [string, string])[] = [
  ...[
    "Pod",
    "Service",
    "Node",
    "Namespace",
    "Event",
    "Endpoints",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceQuota",
  ].map((kind) => ["", kind] as const),
  ...["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"].map((kind) => ["apps", kind] as const),
  ...["Job", "CronJob"].map((kind) => ["batch", kind] as const),
  ...["Ingress", "IngressClass", "NetworkPolicy"].map((kind) => ["networking.k8s.io", kind] as const),
];

describe("columns of custom resources", () => {
  const cell = (column: object, fields: object) => customColumns([column as Record<string, unknown>])[1]?.cell(object(fields), NOW);
  it("take values by path", () =>
    assert.equal(cell({ name: "A", type: "integer", jsonPath: ".status.identity.id" }, { status: { identity: { id: 5 } } }), 5));
  it("are empty where there is no value", () => assert.equal(cell({ name: "A", type: "string", jsonPath: ".status.x" }, {}), null));
  it("show dates as ages", () => assert.equal(cell({ name: "A", type: "date", jsonPath: ".metadata.creationTimestamp" }, {}), "60s"));
  const document = {
    a: {
      "b.c/d": 1,
      l: [
        { t: "x", v: 1 },
        { t: "y", v: 2 },
      ],
    },
  };
  const paths: readonly [path: string, found: readonly unknown[]][] = [
    [".a.l[0].v", [1]],
    [".a.l[*].v", [1, 2]],
    ['.a.l[?(@.t=="y")].v', [2]],
    [".a.l[?(@.t=='x')].v", [1]],
    [".a.b\\.c/d", [1]],
    ["{.a['b.c/d']}", [1]],
    [".a.nothing[3]", []],
  ];
  for (const [path, found] of paths) it(`understand ${path}`, () => assert.deepEqual(evaluatePath(document, path), found));
});
