import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { Logger } from "#runtime/logger.ts";
import { firstAddress } from "./admission/ranges.ts";
import { createLocalClient, type LocalClient } from "./client.ts";
import { startBootstrap } from "./controllers/bootstrap.ts";
import { startDefinitions } from "./controllers/definitions.ts";
import { startEventExpiry } from "./controllers/events.ts";
import { startTerminator } from "./controllers/namespaces.ts";
import { notFound } from "./errors.ts";
import { authenticate } from "./http/auth.ts";
import { openExchange } from "./http/exchange.ts";
import { handle, type Page } from "./http/handler.ts";
import { sendError } from "./http/respond.ts";
import { type Address, type Listener, listen } from "./http/server.ts";
import { openApiPage } from "./openapi/pages.ts";
import type { Core } from "./operations/core.ts";
import type { Review } from "./operations/opinion.ts";
import { type KubeconfigOptions, writeKubeconfig } from "./pki/kubeconfig.ts";
import { openPki } from "./pki/pki.ts";
import { createTokens, ISSUER, type Tokens } from "./pki/token.ts";
import { createRegistry } from "./resources/registry.ts";
import { openStateFile } from "./store/sqlite.ts";
import { createStore } from "./store/store.ts";
import { podStreamPage } from "./streams/logs.ts";
import type { PodStreams } from "./streams/pod-streams.ts";
import { createUpgrader } from "./streams/upgrade.ts";

export interface ApiServerDeps {
  readonly log: Logger;
  /** How to reach processes in pods; may be set later with `setPodStreams`. */
  readonly streams?: PodStreams;
  readonly now?: () => Date;
  /** What authors of objects are told in `Warning` headers. */
  readonly review?: Review | undefined;
}

export interface ApiServerConfig {
  /** Holds `state.db` and `pki/`. One server at a time. */
  readonly directory: string;
  readonly listeners: readonly Listener[];
  /** 10.96.0.0/16 by default. */
  readonly serviceCidr?: string;
  readonly serviceCidrV6?: string;
  /** Further names and addresses of the server's certificate. */
  readonly extraNames?: readonly string[];
  readonly clusterDomain?: string;
  /** Limits the state file, in pages of 4 KiB; for tests of a full disk. */
  readonly maxPages?: number;
  /** Changes kept per resource for watchers; 2048 by default. */
  readonly history?: number;
}

export interface ApiServer extends AsyncDisposable {
  /** PEM of the cluster's certificate authority. */
  readonly ca: string;
  readonly addresses: readonly Address[];
  readonly client: LocalClient;
  /** A kubeconfig for the first listener (or the given server) with a client certificate. */
  kubeconfig(options?: KubeconfigOptions): string;
  /** A bearer token of an existing service account. Throws 404. */
  serviceAccountToken(namespace: string, name: string, seconds?: number): string;
  setPodStreams(streams: PodStreams): void;
}

/** Starts the API server; resolves when it is serving. Disposing closes every connection and then the state file. */
export async function startApiServer(deps: ApiServerDeps, config: ApiServerConfig): Promise<ApiServer> {
  await using stack = new AsyncDisposableStack();
  const now = deps.now ?? (() => new Date());
  const serviceCidr = config.serviceCidr ?? "10.96.0.0/16";
  const file = stack.use(openStateFile(config.directory, config.maxPages ? { maxPages: config.maxPages } : {}));
  const core: Core = {
    store: createStore(file, config.history ? { history: config.history } : {}),
    registry: createRegistry(),
    log: deps.log,
    now,
    review: deps.review,
    settings: { serviceCidr, serviceCidrV6: config.serviceCidrV6, nodePorts: [30_000, 32_767] },
  };
  const serviceAddress = firstAddress(serviceCidr);
  const pki = openPki(join(config.directory, "pki"), serverNames(config, serviceAddress));
  const tokens = createTokens(pki.tokenKey, now);
  stack.use(startDefinitions(core));
  stack.use(startBootstrap(core, { ca: pki.ca, serviceAddress, endpoint: endpointOf(config.listeners) }));
  stack.use(startTerminator(core));
  stack.use(startEventExpiry(core));

  let streams = deps.streams;
  const stop = new AbortController();
  const upgrade = createUpgrader({ core, tokens, streams: () => streams, signal: stop.signal });
  const pages: Page[] = [openApiPage(core.registry), podStreamPage(() => streams)];
  const request = (incoming: IncomingMessage, response: ServerResponse) =>
    void serve({ core, tokens, stop: stop.signal, pages }, incoming, response);
  const listening = stack.use(await listen(pki, config.listeners, { request, upgrade }));
  stack.defer(() => stop.abort());
  const [first] = listening.addresses;
  const url = first ? `https://${first.host.includes(":") ? `[${first.host}]` : first.host}:${first.port}` : "";
  core.log.info("API server is serving", { addresses: listening.addresses.map(({ host, port }) => `${host}:${port}`), state: file.path });
  const owned = stack.move();
  return {
    ca: pki.ca,
    addresses: listening.addresses,
    client: createLocalClient(core),
    kubeconfig: (options = {}) => writeKubeconfig(pki, url, options),
    serviceAccountToken: (namespace, name, seconds = 86_400 * 365) => issueToken(core, tokens, namespace, name, seconds),
    setPodStreams(next) {
      streams = next;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Serving {
  readonly core: Core;
  readonly tokens: Tokens;
  readonly stop: AbortSignal;
  readonly pages: readonly Page[];
}

async function serve({ core, tokens, stop, pages }: Serving, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const left = new AbortController();
  response.on("close", () => left.abort());
  response.on("error", () => left.abort());
  const signal = AbortSignal.any([left.signal, stop]);
  const user = authenticate(request, tokens, core.store);
  try {
    const exchange = openExchange({ core, tokens, request, response, user, signal });
    await handle(exchange, pages).catch((thrown: unknown) => sendError(exchange, thrown));
  } catch {
    // Only a path that cannot be decoded ends here.
    response.writeHead(400).end();
  }
}

/** Every name under which the server is reached: listeners, the service, localhost. */
function serverNames(config: ApiServerConfig, serviceAddress: string): string[] {
  const domain = config.clusterDomain ?? "cluster.local";
  const hosts = config.listeners.map((listener) => ("fd" in listener ? listener.address : listener.host));
  const service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", `kubernetes.default.svc.${domain}`];
  const v6 = config.serviceCidrV6 ? [firstAddress(config.serviceCidrV6)] : [];
  return [...new Set(["localhost", "127.0.0.1", ...hosts, serviceAddress, ...v6, ...service, ...(config.extraNames ?? [])])];
}

/** Pods reach the listener that is not on loopback. */
function endpointOf(listeners: readonly Listener[]): { address: string; port: number } {
  const all = listeners.map((listener) => ({ address: "fd" in listener ? listener.address : listener.host, port: listener.port }));
  return all.find(({ address }) => !address.startsWith("127.")) ?? all[0] ?? { address: "127.0.0.1", port: 6443 };
}

function issueToken(core: Core, tokens: Tokens, namespace: string, name: string, seconds: number): string {
  const account = core.store.get("serviceaccounts", `${namespace}/${name}`);
  if (!account) throw notFound({ group: "", resource: "serviceaccounts" }, name);
  const expires = Math.floor(core.now().getTime() / 1000) + seconds;
  return tokens.issue({ namespace, serviceAccount: name, uid: account.metadata.uid, expires }, [ISSUER]);
}
