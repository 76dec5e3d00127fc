import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { CodedError } from "#runtime/errors.ts";
import type { ClusterConfig } from "./config.ts";
import { apiVersionOf, type ObjectRef, pathOf, type Resource } from "./resources.ts";
import type { KubeObject } from "./types.ts";

/** The API server refused a request, or could not be reached (`status` 0). */
export class KubeError extends CodedError {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string, options?: ErrorOptions) {
    super(reason || `http-${status}`, message, options);
    this.status = status;
    this.reason = reason;
  }
}

export function isNotFound(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 404;
}

/** 403: our account may not do that. */
export function isForbidden(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 403;
}

/** 409: somebody else created or changed the object first. */
export function isConflict(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 409;
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ObjectList<T> {
  readonly items: T[];
  readonly resourceVersion: string;
}

export type PatchType = "merge" | "json" | "strategic" | "apply";

export interface PatchOptions {
  readonly subresource?: string;
  /** Who owns the fields, for `apply`. */
  readonly fieldManager?: string;
  readonly force?: boolean;
}

/** An API server. Every call rejects with `KubeError`. */
export interface Cluster extends Disposable {
  readonly config: ClusterConfig;
  get<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<ObjectList<T>>;
  create<T extends KubeObject>(resource: Resource<T>, object: T): Promise<T>;
  /** Replaces the object; 409 when `metadata.resourceVersion` is not the current one. */
  update<T extends KubeObject>(resource: Resource<T>, object: T, subresource?: string): Promise<T>;
  patch<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, type: PatchType, patch: unknown, options?: PatchOptions): Promise<T>;
  delete<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, options?: { readonly gracePeriodSeconds?: number }): Promise<void>;
  /** One request with a JSON answer, for what the typed calls do not cover. */
  json(method: string, path: string, body?: unknown): Promise<unknown>;
  /** One request whose answer is read as it comes; the caller ends it by the signal. */
  stream(path: string, signal: AbortSignal): Promise<IncomingMessage>;
}

const PATCH_CONTENT: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json",
  json: "application/json-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

const REQUEST_TIMEOUT_MS = 30_000;

export interface ClientOptions {
  /** Told of every request once it is answered; `code` is the HTTP status, or `error` when there was no answer. */
  readonly onCall?: (call: {
    readonly host: string;
    readonly method: string;
    readonly path: string;
    readonly code: string;
    readonly seconds: number;
  }) => void;
}

/** A client of the API server. Connections are kept alive; disposing closes them. */
export function openCluster(config: ClusterConfig, { onCall }: ClientOptions = {}): Cluster {
  const transport = onCall ? observed(createTransport(config), config, onCall) : createTransport(config);
  const json = async (method: string, path: string, body?: unknown, contentType = "application/json") => {
    const response = await transport.send(method, path, body, contentType, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    return readJson(response, method, path);
  };
  return {
    config,
    json,
    get: async <T>(resource: Resource<T & KubeObject>, ref: ObjectRef) => (await json("GET", pathOf(resource, ref))) as T,
    async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) {
      const path = `${pathOf(resource, { namespace: options.namespace })}${selectorQuery(options)}`;
      const list = (await json("GET", path)) as { items?: T[] | null; metadata?: { resourceVersion?: string } };
      return { items: list.items ?? [], resourceVersion: list.metadata?.resourceVersion ?? "" };
    },
    create: async <T extends KubeObject>(resource: Resource<T>, object: T) =>
      (await json("POST", pathOf(resource, { namespace: object.metadata.namespace }), typed(resource, object))) as T,
    update: async <T extends KubeObject>(resource: Resource<T>, object: T, subresource?: string) =>
      (await json("PUT", pathOf(resource, object.metadata, subresource), typed(resource, object))) as T,
    async patch<T extends KubeObject>(resource: Resource<T>, ref: ObjectRef, type: PatchType, patch: unknown, options: PatchOptions = {}) {
      const query = new URLSearchParams();
      if (options.fieldManager) query.set("fieldManager", options.fieldManager);
      if (options.force) query.set("force", "true");
      const path = `${pathOf(resource, ref, options.subresource)}${query.size > 0 ? `?${query}` : ""}`;
      return (await json("PATCH", path, patch, PATCH_CONTENT[type])) as T;
    },
    async delete(resource, ref, options = {}) {
      await json("DELETE", pathOf(resource, ref), { apiVersion: "v1", kind: "DeleteOptions", ...options });
    },
    async stream(path, signal) {
      const response = await transport.send("GET", path, undefined, "application/json", signal);
      if (response.statusCode !== 200) await readJson(response, "GET", path);
      return response;
    },
    [Symbol.dispose]: () => transport.close(),
  };
}

/** `?labelSelector=…&fieldSelector=…`, or nothing. */
export function selectorQuery(options: ListOptions, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams(more);
  if (options.labelSelector) query.set("labelSelector", options.labelSelector);
  if (options.fieldSelector) query.set("fieldSelector", options.fieldSelector);
  return query.size > 0 ? `?${query}` : "";
}

function typed<T extends KubeObject>(resource: Resource<T>, object: T): T {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

interface Transport {
  send(method: string, path: string, body: unknown, contentType: string, signal: AbortSignal): Promise<IncomingMessage>;
  close(): void;
}

function createTransport(config: ClusterConfig): Transport {
  const secure = config.server.protocol === "https:";
  const agent = secure
    ? new HttpsAgent({
        keepAlive: true,
        ca: config.ca,
        cert: config.cert,
        key: config.key,
        rejectUnauthorized: !config.insecureSkipTlsVerify,
        ...(config.serverName ? { servername: config.serverName } : {}),
      })
    : new HttpAgent({ keepAlive: true });
  const start = secure ? httpsRequest : httpRequest;
  return {
    send(method, path, body, contentType, signal) {
      const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const headers: Record<string, string | number> = { accept: "application/json", "user-agent": "cilia" };
      if (payload) Object.assign(headers, { "content-type": contentType, "content-length": payload.length });
      if (config.token) headers.authorization = `Bearer ${config.token()}`;
      const options: RequestOptions = { method, agent, headers, signal };
      return new Promise((resolve, reject) => {
        const request = start(new URL(path, config.server), options, resolve);
        request.on("error", (cause) =>
          reject(new KubeError(0, "Unreachable", `cannot reach the API server at ${config.server.origin}`, { cause })),
        );
        request.end(payload);
      });
    },
    close: () => agent.destroy(),
  };
}

function observed(transport: Transport, { server }: ClusterConfig, onCall: NonNullable<ClientOptions["onCall"]>): Transport {
  return {
    ...transport,
    async send(method, path, ...rest) {
      const start = performance.now();
      const done = (code: string) =>
        onCall({ host: server.host, method, path: pathKind(path), code, seconds: (performance.now() - start) / 1000 });
      try {
        const response = await transport.send(method, path, ...rest);
        done(String(response.statusCode ?? 0));
        return response;
      } catch (thrown) {
        done("error");
        throw thrown;
      }
    },
  };
}

/** A path without the names in it: `/api/v1/namespaces/{namespace}/pods/{name}`. */
export function pathKind(path: string): string {
  const [bare = ""] = path.split("?", 1);
  const match = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)(\/namespaces\/[^/]+(?=\/))?\/([^/]+)(\/[^/]+)?(\/.*)?$/.exec(bare);
  if (match === null) return bare;
  const [, group = "", namespace, kind = "", name, rest = ""] = match;
  return `${group}${namespace === undefined ? "" : "/namespaces/{namespace}"}/${kind}${name === undefined ? "" : "/{name}"}${rest}`;
}

async function readJson(response: IncomingMessage, method: string, path: string): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return text === "" ? undefined : JSON.parse(text);
  const body = parseStatus(text);
  throw new KubeError(status, body.reason ?? "", body.message ?? `${method} ${path}: HTTP ${status}`);
}

function parseStatus(text: string): { reason?: string; message?: string } {
  try {
    return JSON.parse(text) as { reason?: string; message?: string };
  } catch {
    return text === "" ? {} : { message: text.slice(0, 200) };
  }
}
