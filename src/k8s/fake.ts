import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { type Cluster, KubeError } from "./client.ts";
import { apiVersionOf, type ObjectRef, type Resource } from "./resources.ts";
import type { KubeObject } from "./types.ts";

/** A `Cluster` in memory, for tests: objects, versions, conflicts and watches as the real one has them. */
export interface FakeCluster extends Cluster {
  /** Every write so far, as `VERB plural [namespace/]name`. */
  readonly writes: readonly string[];
  /** The next calls with this verb fail with this error. */
  failNext(verb: string, error: KubeError, times?: number): void;
}

export function createFakeCluster(): FakeCluster {
  const objects = new Map<string, KubeObject>();
  const writes: string[] = [];
  const failures = new Map<string, { error: KubeError; left: number }>();
  const watchers = new Set<{ readonly prefix: string; readonly stream: PassThrough }>();
  const history: { readonly version: number; readonly prefix: string; readonly line: string }[] = [];
  let version = 1;

  const prefixOf = (resource: Resource<KubeObject>) => `${apiVersionOf(resource)}/${resource.plural}/`;
  const keyOf = (resource: Resource<KubeObject>, ref: ObjectRef) => `${prefixOf(resource)}${ref.namespace ?? ""}/${ref.name}`;
  const enter = (verb: string, resource?: Resource<KubeObject>, ref?: ObjectRef) => {
    const failure = failures.get(verb);
    if (failure && failure.left > 0) {
      failure.left -= 1;
      throw failure.error;
    }
    if (resource && ref) writes.push(`${verb} ${resource.plural} ${ref.namespace ? `${ref.namespace}/` : ""}${ref.name}`);
  };
  const need = (resource: Resource<KubeObject>, ref: ObjectRef): KubeObject => {
    const found = objects.get(keyOf(resource, ref));
    if (!found) throw new KubeError(404, "NotFound", `${resource.plural} "${ref.name}" not found`);
    return found;
  };
  const emit = (resource: Resource<KubeObject>, type: string, object: KubeObject) => {
    const prefix = prefixOf(resource);
    const line = `${JSON.stringify({ type, object })}\n`;
    history.push({ version, prefix, line });
    for (const watcher of watchers) if (watcher.prefix === prefix) watcher.stream.write(line);
  };
  const store = <T extends KubeObject>(resource: Resource<T>, object: T, type: string): T => {
    version += 1;
    const metadata = {
      uid: `uid-${version}`,
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...object.metadata,
      resourceVersion: String(version),
    };
    const stored = { ...structuredClone(object), apiVersion: apiVersionOf(resource), kind: resource.kind, metadata };
    objects.set(keyOf(resource, stored.metadata), stored);
    emit(resource, type, stored);
    return structuredClone(stored);
  };

  const cluster: FakeCluster = {
    writes,
    config: { server: new URL("http://fake"), insecureSkipTlsVerify: false, namespace: "default" },
    failNext: (verb, error, times = 1) => void failures.set(verb, { error, left: times }),
    async get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef) {
      enter("GET");
      return structuredClone(need(resource, ref)) as T;
    },
    async list<T extends KubeObject>(resource: Resource<T>) {
      enter("LIST");
      const items = [...objects].filter(([key]) => key.startsWith(prefixOf(resource))).map(([, object]) => structuredClone(object) as T);
      return { items, resourceVersion: String(version) };
    },
    async create(resource, object) {
      enter("CREATE", resource, object.metadata);
      if (objects.has(keyOf(resource, object.metadata)))
        throw new KubeError(409, "AlreadyExists", `${object.metadata.name} already exists`);
      return store(resource, object, "ADDED");
    },
    async update(resource, object) {
      enter("UPDATE", resource, object.metadata);
      const before = need(resource, object.metadata);
      const expected = object.metadata.resourceVersion;
      if (expected !== undefined && expected !== before.metadata.resourceVersion)
        throw new KubeError(409, "Conflict", "the object has been modified");
      return store(resource, object, "MODIFIED");
    },
    async patch(resource, ref, _type, patch) {
      enter("PATCH", resource, ref);
      const merged = mergePatch(objects.get(keyOf(resource, ref)) ?? { metadata: { ...ref } }, patch);
      return store(resource, merged as never, "MODIFIED");
    },
    async delete(resource, ref) {
      enter("DELETE", resource, ref);
      const found = need(resource, ref);
      objects.delete(keyOf(resource, ref));
      version += 1;
      emit(resource, "DELETED", { ...found, metadata: { ...found.metadata, resourceVersion: String(version) } });
    },
    json: async () => ({}),
    async stream(path, signal) {
      enter("WATCH");
      const stream = new PassThrough();
      const url = new URL(path, "http://fake");
      const prefix = `${url.pathname.replace(/^\/apis?\//, "").replace(/\/namespaces\/[^/]+/, "")}/`;
      const since = Number(url.searchParams.get("resourceVersion"));
      for (const event of history) if (event.prefix === prefix && event.version > since) stream.write(event.line);
      const watcher = { prefix, stream };
      watchers.add(watcher);
      signal.addEventListener("abort", () => stream.destroy(), { once: true });
      stream.once("close", () => watchers.delete(watcher));
      return stream as unknown as IncomingMessage;
    },
    [Symbol.dispose]() {
      for (const { stream } of watchers) stream.destroy();
    },
  };
  return cluster;
}

/** RFC 7386. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = typeof target === "object" && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}
