import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { CodedError } from "#runtime/errors.ts";

/** Where the API server is and how we prove who we are. Certificates and keys are PEM. */
export interface ClusterConfig {
  readonly server: URL;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Read anew for each request: tokens of service accounts are rotated on disk. */
  readonly token?: (() => string) | undefined;
  readonly insecureSkipTlsVerify: boolean;
  /** TLS server name, when it is not the host of `server`. */
  readonly serverName?: string | undefined;
  /** Namespace of the context; `default` when none is given. */
  readonly namespace: string;
}

export class ClusterConfigError extends CodedError {}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface ClusterConfigOptions {
  /** A kubeconfig file; else `$KUBECONFIG`, the pod's service account, `~/.kube/config`, in this order. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

/** Finds the cluster. Throws `ClusterConfigError` that says where it looked and what to set. */
export async function loadClusterConfig(options: ClusterConfigOptions = {}): Promise<ClusterConfig> {
  const named = process.env.KUBECONFIG?.split(":").filter(Boolean) ?? [];
  const given = options.kubeconfig || named.find((path) => existsSync(path));
  if (given) return loadKubeconfig(given, options.context);
  if (process.env.KUBERNETES_SERVICE_HOST && existsSync(`${SERVICE_ACCOUNT}/token`)) return inClusterConfig();
  if (named.length > 0) {
    const missing = `${named.join(", ")}, which ${named.length === 1 ? "does" : "do"} not exist`;
    throw new ClusterConfigError("no-cluster", `KUBECONFIG names ${missing}; in the lab run: eval "$(bin/cilium lab env)"`);
  }
  const fallback = join(homedir(), ".kube", "config");
  if (existsSync(fallback)) return loadKubeconfig(fallback, options.context);
  throw new ClusterConfigError(
    "no-cluster",
    `no cluster: KUBECONFIG is not set and there is no ${fallback}; in the lab run: eval "$(bin/cilium lab env)"`,
  );
}

function inClusterConfig(): ClusterConfig {
  const host = process.env.KUBERNETES_SERVICE_HOST ?? "";
  const port = process.env.KUBERNETES_SERVICE_PORT ?? "443";
  const token = () => readFileSync(`${SERVICE_ACCOUNT}/token`, "utf8").trim();
  return {
    server: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    ca: readFileSync(`${SERVICE_ACCOUNT}/ca.crt`, "utf8"),
    token,
    insecureSkipTlsVerify: false,
    namespace: readFileSync(`${SERVICE_ACCOUNT}/namespace`, "utf8").trim(),
  };
}

interface NamedEntry {
  readonly name?: string;
  readonly cluster?: Record<string, unknown>;
  readonly user?: Record<string, unknown>;
  readonly context?: Record<string, unknown>;
}

interface Kubeconfig {
  readonly "current-context"?: string;
  readonly clusters?: readonly NamedEntry[];
  readonly users?: readonly NamedEntry[];
  readonly contexts?: readonly NamedEntry[];
}

async function loadKubeconfig(path: string, wanted: string | undefined): Promise<ClusterConfig> {
  const { parse } = await import("yaml");
  let file: Kubeconfig | null;
  try {
    file = parse(readFileSync(path, "utf8")) as Kubeconfig | null;
  } catch (thrown) {
    throw new ClusterConfigError("bad-kubeconfig", `cannot read kubeconfig ${path}`, { cause: thrown });
  }
  const find = (list: readonly NamedEntry[] | undefined, kind: string, name: string): NamedEntry => {
    const found = list?.find((entry) => entry.name === name);
    if (found) return found;
    const known = list?.map((entry) => entry.name).join(", ") || "none";
    throw new ClusterConfigError("bad-kubeconfig", `kubeconfig ${path}: no ${kind} "${name}" (there are: ${known})`);
  };
  const context = find(file?.contexts, "context", wanted ?? file?.["current-context"] ?? "").context ?? {};
  const cluster = find(file?.clusters, "cluster", String(context.cluster)).cluster ?? {};
  const user = find(file?.users, "user", String(context.user)).user ?? {};
  const pem = (from: Record<string, unknown>, key: string) => readPem(from, key, dirname(path));
  const token = typeof user.token === "string" ? user.token : undefined;
  const tokenFile = typeof user.tokenFile === "string" ? user.tokenFile : undefined;
  return {
    server: new URL(String(cluster.server)),
    ca: pem(cluster, "certificate-authority"),
    cert: pem(user, "client-certificate"),
    key: pem(user, "client-key"),
    token: tokenFile ? () => readFileSync(tokenFile, "utf8").trim() : token ? () => token : undefined,
    insecureSkipTlsVerify: cluster["insecure-skip-tls-verify"] === true,
    serverName: typeof cluster["tls-server-name"] === "string" ? cluster["tls-server-name"] : undefined,
    namespace: typeof context.namespace === "string" ? context.namespace : "default",
  };
}

/** `KEY-data` holds base64, `KEY` a file name relative to the kubeconfig. */
function readPem(from: Record<string, unknown>, key: string, directory: string): string | undefined {
  const data = from[`${key}-data`];
  if (typeof data === "string") return Buffer.from(data, "base64").toString("utf8");
  const file = from[key];
  return typeof file === "string" ? readFileSync(resolve(directory, file), "utf8") : undefined;
}
