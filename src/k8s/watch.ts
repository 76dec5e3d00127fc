import type { Readable } from "node:stream";
import { type Cluster, KubeError, type ListOptions, selectorQuery } from "./client.ts";
import { pathOf, type Resource } from "./resources.ts";
import type { KubeObject } from "./types.ts";

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly object: { readonly metadata: { readonly resourceVersion: string } } };

/** The server ends a watch after this time; the reflector then goes on where it was. Seconds. */
const WATCH_SECONDS = 300;

/**
 * The events of one watch request from `resourceVersion` on. Ends when the server ends it; throws `KubeError` with status
 * 410 when the version is too old to resume from.
 */
export async function* watchEvents<T extends KubeObject>(
  cluster: Cluster,
  resource: Resource<T>,
  resourceVersion: string,
  options: ListOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>> {
  const query = { watch: "true", allowWatchBookmarks: "true", resourceVersion, timeoutSeconds: String(WATCH_SECONDS) };
  const path = `${pathOf(resource, { namespace: options.namespace })}${selectorQuery(options, query)}`;
  const response = await cluster.stream(path, signal);
  for await (const line of readLines(response)) {
    const event = JSON.parse(line) as WatchEvent<T> | { type: "ERROR"; object: { code?: number; reason?: string; message?: string } };
    if (event.type === "ERROR") {
      const { code = 500, reason = "", message = "the watch failed" } = event.object;
      throw new KubeError(code, reason, message);
    }
    yield event;
  }
}

async function* readLines(stream: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield line;
  }
}
