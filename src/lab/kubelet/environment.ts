import type { Container, EnvVarSource } from "kubernetes-types/core/v1.js";
import type { Cluster } from "../cluster.ts";
import type { Image } from "../images/image.ts";
import type { ConfigMap, Pod, Secret } from "../objects.ts";
import { DEFAULT_PATH } from "../process/sandbox.ts";
import { fieldOf } from "./downward.ts";

/** A reference in the container's configuration that leads nowhere; the container waits with CreateContainerConfigError. */
export class ConfigError extends Error {}

/** What the container's process runs as. */
export interface Command {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
}

/** Command, environment and directory of a container: the image's, overruled by the pod's. Throws `ConfigError`. */
export function commandOf(cluster: Cluster, pod: Pod, container: Container, image: Image): Command {
  const env = environmentOf(cluster, pod, container, image);
  const expand = (words: readonly string[] | undefined) => words?.map((word) => expandVariables(word, env));
  const entrypoint = expand(container.command) ?? image.entrypoint;
  // As in Kubernetes: a command of the pod also drops the image's arguments.
  const args = expand(container.args) ?? (container.command ? [] : image.args);
  return { command: [...entrypoint, ...args], env, directory: container.workingDir ?? image.directory };
}

function environmentOf(cluster: Cluster, pod: Pod, container: Container, image: Image): Record<string, string> {
  const env = baseEnvironment(pod, container, image);
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? readConfigMap(cluster, pod, configMapRef.name ?? "", configMapRef.optional)
      : readSecret(cluster, pod, secretRef?.name ?? "", secretRef?.optional);
    for (const [key, value] of Object.entries(data ?? {})) env[prefix + key] = value;
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const found = valueFrom ? referredValue(cluster, pod, container, valueFrom) : expandVariables(value ?? "", env);
    if (found !== undefined) env[name] = found;
  }
  return env;
}

function baseEnvironment(pod: Pod, container: Container, image: Image): Record<string, string> {
  return {
    PATH: image.path ? `${image.path}:${DEFAULT_PATH}` : DEFAULT_PATH,
    HOME: "/root",
    HOSTNAME: pod.spec.hostNetwork ? (pod.spec.nodeName ?? "") : (pod.spec.hostname ?? pod.metadata.name),
    KUBERNETES_SERVICE_HOST: "10.96.0.1",
    KUBERNETES_SERVICE_PORT: "443",
    KUBERNETES_SERVICE_PORT_HTTPS: "443",
    ...(container.tty ? { TERM: "xterm" } : {}),
    ...image.env,
    ...image.environmentFor?.(container),
  };
}

function referredValue(cluster: Cluster, pod: Pod, container: Container, source: EnvVarSource): string | undefined {
  const { fieldRef, configMapKeyRef, secretKeyRef, resourceFieldRef } = source;
  if (fieldRef) return fieldOf(pod, fieldRef.fieldPath);
  if (resourceFieldRef) {
    const [kind = "", name = ""] = resourceFieldRef.resource.split(".");
    const amounts = kind === "requests" ? container.resources?.requests : container.resources?.limits;
    return String(amounts?.[name] ?? "0");
  }
  const reference = configMapKeyRef ?? secretKeyRef;
  if (!reference) return undefined;
  const read = configMapKeyRef ? readConfigMap : readSecret;
  const value = read(cluster, pod, reference.name ?? "", reference.optional)?.[reference.key];
  if (value === undefined && !reference.optional)
    throw new ConfigError(
      `couldn't find key ${reference.key} in ${configMapKeyRef ? "ConfigMap" : "Secret"} ${pod.metadata.namespace}/${reference.name}`,
    );
  return value;
}

function readConfigMap(cluster: Cluster, pod: Pod, name: string, optional = false): Record<string, string> | undefined {
  const map = cluster.get<ConfigMap>("configmaps", name, pod.metadata.namespace);
  if (!map && !optional) throw new ConfigError(`configmap "${name}" not found`);
  return map?.data;
}

function readSecret(cluster: Cluster, pod: Pod, name: string, optional = false): Record<string, string> | undefined {
  const secret = cluster.get<Secret>("secrets", name, pod.metadata.namespace);
  if (!secret && !optional) throw new ConfigError(`secret "${name}" not found`);
  return (
    secret && Object.fromEntries(Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]))
  );
}

/** Replaces `$(NAME)` by the variable; `$$(NAME)` is the text `$(NAME)`, an unknown name stays as written. */
export function expandVariables(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]+)\)/g, (whole, name: string | undefined) => (name === undefined ? "$" : (env[name] ?? whole)));
}
