import { ApiError } from "../errors.ts";
import type { JsonObject, KubeObject } from "../object.ts";
import type { Core } from "../operations/core.ts";
import { createObject } from "../operations/create.ts";
import { updateObject } from "../operations/update.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];

export interface BootstrapOptions {
  readonly ca: string;
  /** First address of the service range. */
  readonly serviceAddress: string;
  /** Where the API server itself is reached by pods; the EndpointSlice of `default/kubernetes`. */
  readonly endpoint: { readonly address: string; readonly port: number };
}

/** Makes the objects that every cluster has, where they are missing, and keeps each namespace's own up to date. */
export function startBootstrap(core: Core, options: BootstrapOptions): Disposable {
  for (const name of NAMESPACES) ensure(core, "namespaces", { metadata: { name } });
  for (const [name, value] of PRIORITIES) {
    ensure(core, "priorityclasses.scheduling.k8s.io", {
      metadata: { name },
      value,
      description: "Used by system critical pods that must not be moved.",
    });
  }
  const everything = [
    { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
    { nonResourceURLs: ["*"], verbs: ["*"] },
  ];
  ensure(core, "clusterroles.rbac.authorization.k8s.io", { metadata: { name: "cluster-admin" }, rules: everything });
  ensure(core, "clusterrolebindings.rbac.authorization.k8s.io", {
    metadata: { name: "cluster-admin" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "Group", apiGroup: "rbac.authorization.k8s.io", name: "system:masters" }],
  });
  const ownService = () => ensureOwnService(core, options);
  ownService();
  renewOwnEndpoints(core, options);
  const furnish = () => {
    for (const namespace of core.store.list("namespaces"))
      if (!namespace.metadata.deletionTimestamp) furnishNamespace(core, namespace, options.ca);
  };
  furnish();
  const stack = new DisposableStack();
  stack.use(core.store.subscribe("namespaces", () => queueMicrotask(furnish)));
  // `kubectl delete svc --all` takes it too; it comes back, as in every cluster.
  stack.use(core.store.subscribe("services", () => queueMicrotask(ownService)));
  return stack;
}

const PRIORITIES = [
  ["system-cluster-critical", 2_000_000_000],
  ["system-node-critical", 2_000_001_000],
] as const;

function furnishNamespace(core: Core, namespace: KubeObject, ca: string): void {
  const { name } = namespace.metadata;
  ensure(core, "serviceaccounts", { metadata: { name: "default", namespace: name } });
  const annotations = { "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver." };
  ensure(core, "configmaps", { metadata: { name: "kube-root-ca.crt", namespace: name, annotations }, data: { "ca.crt": ca } });
}

function ensureOwnService(core: Core, { serviceAddress, endpoint }: BootstrapOptions): void {
  const labels = { component: "apiserver", provider: "kubernetes" };
  ensure(core, "services", {
    metadata: { name: "kubernetes", namespace: "default", labels },
    spec: {
      type: "ClusterIP",
      clusterIP: serviceAddress,
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: endpoint.port }],
    },
  });
}

/** The address may have changed since the last start. */
function renewOwnEndpoints(core: Core, { endpoint }: BootstrapOptions): void {
  const slice = {
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: endpoint.address.includes(":") ? "IPv6" : "IPv4",
    endpoints: [{ addresses: [endpoint.address], conditions: { ready: true } }],
    ports: [{ name: "https", port: endpoint.port, protocol: "TCP" }],
  };
  ensure(core, "endpointslices.discovery.k8s.io", slice, true);
  const subsets = [{ addresses: [{ ip: endpoint.address }], ports: [{ name: "https", port: endpoint.port, protocol: "TCP" }] }];
  const labels = { "endpointslice.kubernetes.io/skip-mirror": "true" };
  ensure(core, "endpoints", { metadata: { name: "kubernetes", namespace: "default", labels }, subsets }, true);
}

/** Creates the object unless it is there; with `renew`, replaces what is there. */
function ensure(
  core: Core,
  storage: string,
  object: JsonObject & { metadata: { name: string; namespace?: string } & JsonObject },
  renew = false,
): void {
  const resource = core.registry.named(storage);
  if (!resource) return;
  const { name, namespace } = object.metadata;
  const key = namespace ? `${namespace}/${name}` : name;
  const existing = core.store.get(storage, key);
  if (existing && !renew) return;
  try {
    if (existing) updateObject(core, resource, namespace, name, object, { fieldManager: "kube-apiserver" });
    else createObject(core, resource, namespace, object, { fieldManager: "kube-apiserver" });
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    core.log.warn("cannot make an object that every cluster has", { resource: storage, name: key, error: thrown.message });
  }
}
