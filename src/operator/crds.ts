import { readdirSync, readFileSync } from "node:fs";
import { type Cluster, isConflict, isNotFound } from "#k8s/client.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "#k8s/resources.ts";
import type { Condition, KubeObject } from "#k8s/types.ts";
import { sleep } from "#runtime/backoff.ts";
import type { Logger } from "#runtime/logger.ts";

/** The definitions are of this version; one on the server that is newer is left alone, as upstream does. */
const VERSION_LABEL = "io.cilium.k8s.crd.schema.version";

interface Definition extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** The CustomResourceDefinitions of a directory of YAML files. */
export async function readDefinitions(directory: URL): Promise<Definition[]> {
  const { parseAllDocuments } = await import("yaml");
  const files = readdirSync(directory).filter((name) => name.endsWith(".yaml"));
  return files.sort().flatMap((name) => {
    const documents = parseAllDocuments(readFileSync(new URL(name, directory), "utf8"));
    return (Array.isArray(documents) ? documents : []).map((document) => document.toJS() as Definition);
  });
}

/** Makes every definition exist in our version, and waits until the API server serves it. */
export async function applyDefinitions(
  deps: { readonly cluster: Cluster; readonly log: Logger },
  definitions: readonly Definition[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(definitions.map((definition) => applyDefinition(deps, definition)));
  const waiting = new Set(definitions.map(({ metadata }) => metadata.name));
  while (waiting.size > 0 && !signal.aborted) {
    const { items } = await deps.cluster.list(CUSTOM_RESOURCE_DEFINITIONS);
    for (const item of items as Definition[]) if (isEstablished(item)) waiting.delete(item.metadata.name);
    if (waiting.size > 0) await sleep(50, signal);
  }
}

async function applyDefinition({ cluster, log }: { readonly cluster: Cluster; readonly log: Logger }, wanted: Definition): Promise<void> {
  const { name } = wanted.metadata;
  const found = await cluster.get(CUSTOM_RESOURCE_DEFINITIONS, { name }).catch((thrown: unknown) => {
    if (isNotFound(thrown)) return undefined;
    throw thrown;
  });
  if (found && isForeign(found)) return;
  if (found && !isOlder(found.metadata.labels?.[VERSION_LABEL], wanted.metadata.labels?.[VERSION_LABEL])) return;
  try {
    if (found) {
      const metadata = { ...found.metadata, labels: { ...found.metadata.labels, ...wanted.metadata.labels } };
      await cluster.update(CUSTOM_RESOURCE_DEFINITIONS, { ...wanted, metadata });
    } else await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, wanted);
    log.info(found ? "updated a CustomResourceDefinition" : "created a CustomResourceDefinition", { name });
  } catch (thrown) {
    // Another operator was quicker: its definition is as good as ours.
    if (!isConflict(thrown)) throw thrown;
  }
}

/** A kind of another project that somebody else defined, as they see fit. */
function isForeign({ metadata }: KubeObject): boolean {
  return !metadata.name.endsWith(".cilium.io") && metadata.labels?.[VERSION_LABEL] === undefined;
}

/** Compares versions such as 1.34.2 number by number; no version is older than any. */
export function isOlder(found: string | undefined, wanted: string | undefined): boolean {
  if (wanted === undefined) return found === undefined;
  if (found === undefined) return true;
  const [a, b] = [found, wanted].map((text) => text.split(".").map(Number)) as [number[], number[]];
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function isEstablished(definition: Definition): boolean {
  return definition.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") ?? false;
}
