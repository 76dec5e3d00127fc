import { fqdnMatcher, fqdnRegex, validateFqdn } from "#fqdn/pattern.ts";
import type { DnsCacheEntry } from "#proxy/dns/protocol.ts";
import { ApiError, type ApiRequest, type Routes } from "./http.ts";
import type { ProxyClient } from "./proxy-client.ts";
import type { AgentState } from "./state.ts";

/** The learned names, in upstream's shapes: `DNSLookup` and `NameManager` of its API. */
export function fqdnRoutes({ state, proxy }: { readonly state: AgentState; readonly proxy: ProxyClient }): Routes {
  const ask = async (request: Parameters<ProxyClient["names"]>[0]) => {
    try {
      return await proxy.names(request);
    } catch (thrown) {
      throw new ApiError(503, `learned names are the proxy's: ${(thrown as Error).message}`);
    }
  };
  const list = async (request: ApiRequest) => {
    const isWanted = filterOf(request);
    const entries = await ask({ type: "dns-cache" });
    return entries
      .filter(isWanted)
      .sort((a, b) => a.endpointId - b.endpointId || (a.name < b.name ? -1 : 1))
      .map((entry) => lookupOf(entry, state));
  };
  return {
    "GET /v1/fqdn/cache": list,
    "GET /v1/fqdn/cache/{id}": list,
    "DELETE /v1/fqdn/cache": async ({ query }) => {
      patternOf(query);
      const matchPattern = query.get("matchpattern");
      const gone = await ask({ type: "dns-clean", ...(matchPattern ? { matchPattern } : {}) });
      state.dnsNames.forget(gone);
      return { names: gone.filter(({ name }) => name !== "").length };
    },
    "GET /v1/fqdn/names": () => ({
      DNSPollNames: null,
      FQDNPolicySelectors: state.controller.repository.fqdns().map((selector) => ({
        selectorString: `MatchName: ${selector.matchName ?? ""}, MatchPattern: ${selector.matchPattern ?? ""}`,
        regexString: `^${fqdnRegex(selector)}$`,
        identity: state.fqdns.identityOf(selector) ?? 0,
      })),
    }),
  };
}

const SOURCES: readonly (string | null)[] = ["lookup", "connection"];

/** Which entries are asked for. Throws `ApiError` 400 for what no entry can have. */
export function filterOf({ query, parameters: [id] }: Pick<ApiRequest, "query" | "parameters">): (entry: DnsCacheEntry) => boolean {
  const matches = patternOf(query);
  const source = query.get("source") || null;
  if (source !== null && !SOURCES.includes(source)) throw new ApiError(400, `source: found "${source}", allowed are lookup and connection`);
  if (id !== undefined && !/^\d{1,5}$/.test(id))
    throw new ApiError(400, `endpoint: found "${id}", needed is its number, as "cilium endpoint list" shows it`);
  return (entry) =>
    (id === undefined || entry.endpointId === Number(id)) &&
    (source === null || entry.source === source) &&
    (matches === undefined || matches(entry.name));
}

/** Throws `ApiError` 400 for what is no pattern. */
function patternOf(query: URLSearchParams): ((name: string) => boolean) | undefined {
  const matchPattern = query.get("matchpattern");
  if (matchPattern === null || matchPattern === "") return undefined;
  const [problem] = validateFqdn({ matchPattern }, true);
  if (problem !== undefined) throw new ApiError(400, problem);
  return fqdnMatcher({ matchPattern });
}

function lookupOf({ endpointId, name, ips, ttl, lookupTime, expires, source }: DnsCacheEntry, state: AgentState) {
  const pod = state.endpoints.get(endpointId)?.pod;
  const time = (milliseconds: number) => new Date(milliseconds).toISOString();
  return {
    "endpoint-id": endpointId,
    source,
    fqdn: name,
    ips,
    ttl,
    "lookup-time": time(lookupTime),
    "expiration-time": time(expires),
    ...(pod === undefined ? {} : { pod: `${pod.namespace}/${pod.name}` }),
  };
}
