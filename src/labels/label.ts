/** A label with the source that vouches for it: `k8s:app=web`, `reserved:host`, `cidr:10.0.0.0/8`. */
export type Label = { readonly source: string; readonly key: string; readonly value: string };

/** The sources that Cilium knows. Others are legal and are compared like these. */
export const labelSource = {
  any: "any",
  unspec: "unspec",
  k8s: "k8s",
  reserved: "reserved",
  cidr: "cidr",
  cidrGroup: "cidrgroup",
  fqdn: "fqdn",
  node: "node",
  container: "container",
  cni: "cni",
  directory: "directory",
} as const;

/** The keys that Cilium itself puts on pods' identities. */
export const labelKey = {
  namespace: "io.kubernetes.pod.namespace",
  namespaceLabels: "io.cilium.k8s.namespace.labels",
  cluster: "io.cilium.k8s.policy.cluster",
  serviceAccount: "io.cilium.k8s.policy.serviceaccount",
  cidrGroupName: "io.cilium.policy.cidrgroupname",
} as const;

/** Makes a label; the source is `k8s` unless given. */
export function label(key: string, value = "", source: string = labelSource.k8s): Label {
  return { source, key, value };
}

/** Reads `source:key=value`; a text without a source gets `unspec`, one without `=` an empty value. */
export function parseLabel(text: string): Label {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? "" : text.slice(equals + 1);
  const colon = name.indexOf(":");
  if (colon < 0) return { source: labelSource.unspec, key: name, value };
  return { source: name.slice(0, colon), key: name.slice(colon + 1), value };
}

/** Writes `source:key=value`, or `source:key` when the value is empty. */
export function formatLabel({ source, key, value }: Label): string {
  return value === "" ? `${source}:${key}` : `${source}:${key}=${value}`;
}

/** Splits a selector's key, `k8s:app` or `app`, into source and key; no source means `any`. */
export function parseKey(text: string): { readonly source: string; readonly key: string } {
  const colon = text.indexOf(":");
  if (colon < 0) return { source: labelSource.any, key: text };
  const source = text.slice(0, colon);
  return { source: source === labelSource.unspec ? labelSource.any : source, key: text.slice(colon + 1) };
}
