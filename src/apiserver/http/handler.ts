import { aggregatedDiscovery } from "../discovery/aggregated.ts";
import { apiGroup, groupList, groupVersions, resourceList } from "../discovery/legacy.ts";
import { ApiError } from "../errors.ts";
import type { JsonObject } from "../object.ts";
import { REVIEWS } from "../resources/reviews.ts";
import type { Exchange } from "./exchange.ts";
import { methodNotAllowed, serveCollection, serveObject } from "./objects.ts";
import { sendJson, sendText } from "./respond.ts";
import { serveReview } from "./reviews.ts";
import { parseRoute, type Route } from "./route.ts";
import { serveSubresource } from "./subresources.ts";

/** Whatever else is served below the API's root; each answers or passes. */
export type Page = (exchange: Exchange) => Promise<boolean> | boolean;

const VERSION = {
  major: "1",
  minor: "33",
  gitVersion: "v1.33.0+cilia",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "2025-01-01T00:00:00Z",
  goVersion: process.version,
  compiler: "node",
  platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
};

/** Answers one request. Throws `ApiError` for everything that cannot be answered. */
export async function handle(exchange: Exchange, pages: readonly Page[]): Promise<void> {
  if (serveOpenPage(exchange)) return;
  if (!exchange.user) throw new ApiError(401, "Unauthorized", "Unauthorized");
  if (serveDiscovery(exchange)) return;
  for (const page of pages) if (await page(exchange)) return;
  const route = parseRoute(exchange.path);
  if (!route) throw unknownPath();
  await serveRoute(exchange, route);
}

const unknownPath = () => new ApiError(404, "NotFound", "the server could not find the requested resource");

/** What needs no credentials: health and version. */
function serveOpenPage(exchange: Exchange): boolean {
  const { path } = exchange;
  if (path === "/version" || path === "/version/") sendJson(exchange, 200, VERSION);
  else if (/^\/(healthz|livez|readyz)(\/.*)?$/.test(path))
    sendText(exchange, 200, exchange.query.has("verbose") ? "[+]ping ok\n[+]state ok\nhealthz check passed\n" : "ok", "text/plain");
  else return false;
  return true;
}

function serveDiscovery(exchange: Exchange): boolean {
  const { path, accept, core, method } = exchange;
  const document = discoveryDocument(exchange, path.replace(/\/$/, ""));
  if (!document) return false;
  if (method !== "GET") throw methodNotAllowed(method);
  if (accept.as === "APIGroupDiscoveryList" && document.kind === "APIGroupDiscoveryList") {
    exchange.response.setHeader("vary", "Accept");
    const type = `application/json;g=apidiscovery.k8s.io;v=${accept.version};as=APIGroupDiscoveryList`;
    sendText(exchange, 200, JSON.stringify(document), type);
    return true;
  }
  exchange.response.setHeader("etag", `"${core.registry.generation}"`);
  sendJson(exchange, 200, document);
  return true;
}

function discoveryDocument({ accept, core, request }: Exchange, path: string): JsonObject | undefined {
  const resources = core.registry.all();
  const aggregated = accept.as === "APIGroupDiscoveryList" ? (accept.version ?? "v2") : undefined;
  if (path === "" || path === "/")
    return { paths: ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] };
  if (path === "/api") {
    if (aggregated) return aggregatedDiscovery(resources, "api", aggregated);
    const address = request.headers.host ?? "localhost";
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: address }] };
  }
  if (path === "/apis") return aggregated ? aggregatedDiscovery(resources, "apis", aggregated) : groupList(resources);
  if (path === "/api/v1") return resourceList(resources, "", "v1");
  const [, group, version] = /^\/apis\/([^/]+)(?:\/([^/]+))?$/.exec(path) ?? [];
  if (group === undefined) return undefined;
  if (version !== undefined) return resourceList(resources, group, version);
  const versions = groupVersions(resources).get(group);
  return versions && apiGroup(group, versions);
}

async function serveRoute(exchange: Exchange, route: Route): Promise<void> {
  const { group, version, name, subresource } = route;
  const review = REVIEWS.find((one) => one.group === group && one.version === version && one.resource === route.resource);
  if (review && name === undefined) {
    if (exchange.method !== "POST") throw methodNotAllowed(exchange.method);
    return serveReview(exchange, review);
  }
  const resource = exchange.core.registry.find(group, version, route.resource);
  if (!resource) throw unknownPath();
  if (route.namespace !== undefined && !resource.namespaced) throw unknownPath();
  if (name === undefined) return serveCollection(exchange, resource, route);
  if (resource.namespaced && route.namespace === undefined) throw unknownPath();
  if (subresource === undefined || subresource === "status") {
    if (subresource && !resource.subresources.includes(subresource)) throw unknownPath();
    return serveObject(exchange, resource, { ...route, name });
  }
  if (!resource.subresources.includes(subresource)) throw unknownPath();
  return serveSubresource(exchange, resource, { ...route, name });
}
