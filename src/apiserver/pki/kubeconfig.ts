import type { Pki } from "./pki.ts";

export interface KubeconfigOptions {
  /** URL of the API server as the user of the file reaches it. */
  readonly server?: string;
  readonly user?: string;
  readonly groups?: readonly string[];
  readonly namespace?: string;
  /** Name of cluster and context. */
  readonly cluster?: string;
}

/** A kubeconfig with a client certificate, as text (JSON is YAML). */
export function writeKubeconfig(pki: Pki, server: string, options: KubeconfigOptions): string {
  const { user = "kubernetes-admin", groups = ["system:masters"], cluster = "cilia" } = options;
  const client = pki.issueClient(user, groups);
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const context = { cluster, user, ...(options.namespace ? { namespace: options.namespace } : {}) };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": cluster,
    clusters: [{ name: cluster, cluster: { server: options.server ?? server, "certificate-authority-data": base64(pki.ca) } }],
    contexts: [{ name: cluster, context }],
    users: [{ name: user, user: { "client-certificate-data": base64(client.certificate), "client-key-data": base64(client.key) } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
