import type { Resource } from "../resources/resource.ts";

export interface SubresourceEntry {
  readonly name: string;
  readonly kind: string;
  readonly verbs: readonly string[];
  /** When the kind is of another group than the resource. */
  readonly group?: string;
  readonly version?: string;
}

const STREAM = { verbs: ["create", "get"] };
const KINDS: Readonly<Record<string, Omit<SubresourceEntry, "name">>> = {
  scale: { kind: "Scale", verbs: ["get", "patch", "update"], group: "autoscaling", version: "v1" },
  eviction: { kind: "Eviction", verbs: ["create"], group: "policy", version: "v1" },
  token: { kind: "TokenRequest", verbs: ["create"], group: "authentication.k8s.io", version: "v1" },
  binding: { kind: "Binding", verbs: ["create"] },
  finalize: { kind: "Namespace", verbs: ["update"] },
  log: { kind: "Pod", verbs: ["get"] },
  exec: { kind: "PodExecOptions", ...STREAM },
  attach: { kind: "PodAttachOptions", ...STREAM },
  portforward: { kind: "PodPortForwardOptions", ...STREAM },
};

/** How discovery describes the subresources of a resource. */
export function subresourceEntries(resource: Resource): SubresourceEntry[] {
  return resource.subresources.map((name) => ({ name, ...(KINDS[name] ?? { kind: resource.kind, verbs: ["get", "patch", "update"] }) }));
}
