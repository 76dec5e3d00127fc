import type { Endpoint } from "#endpoint/endpoint.ts";
import type { L7Policy } from "#policy/resolve/l7-policy.ts";
import { PROXY_PORTS } from "#proxy/protocol.ts";
import { formatProtocol } from "#types/proto.ts";
import type { AgentState } from "./state.ts";

/** One port of an endpoint whose traffic goes through the proxy, as upstream's `ProxyRedirect`. */
export interface Redirect {
  /** `<endpoint>:<direction>:<protocol>:<port>:<listener>`, as upstream names them. */
  readonly name: string;
  readonly proxy: string;
  readonly "proxy-port": number;
}

const DIRECTIONS = ["ingress", "egress"] as const;

/** What the policies of this node's endpoints send to the proxy. */
export function redirectsOf({ endpoints, controller }: Pick<AgentState, "endpoints" | "controller">): Redirect[] {
  return [...endpoints.list()].flatMap((endpoint) => {
    const policy = controller.policyOf(endpoint);
    return DIRECTIONS.flatMap((direction) => (policy?.l7(direction) ?? []).flatMap((l7) => redirectsOfPort(endpoint, direction, l7)));
  });
}

function redirectsOfPort({ id }: Endpoint, direction: (typeof DIRECTIONS)[number], { protocol, port, rules }: L7Policy): Redirect[] {
  const name = `${id}:${direction}:${formatProtocol(protocol)}:${port}:`;
  const parsers = new Set(rules.flatMap(({ parser }) => parser ?? []));
  return [...parsers].map((proxy) => ({ name, proxy, "proxy-port": proxy === "dns" ? PROXY_PORTS.dns : PROXY_PORTS[direction] }));
}
