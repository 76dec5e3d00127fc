import type { Prefix } from "#types/prefix.ts";

/** The name of a Service, or of what else brings frontends; made by `serviceName`. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
  /** `namespace/name`. Kept, because it is the key of every table that the service stands in. */
  readonly text: string;
}

export type L4Protocol = "TCP" | "UDP" | "SCTP";

/** An address of one transport protocol; made by `l4Address`. `ip` in canonical text form, `port` in host order. */
export interface L4Address {
  readonly ip: string;
  readonly port: number;
  readonly protocol: L4Protocol;
  /** `10.96.0.1:443/TCP`, IPv6 in brackets. Kept, because it is the key of every table that the address stands in. */
  readonly text: string;
}

/** Which of a Service's addresses this is; Cilium's names, as `cilium service list` prints them. */
export type FrontendType = "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalIPs" | "HostPort" | "LocalRedirect";

/**
 * `active` takes connections. The others finish those they have: `terminating` takes new ones only when nobody else does,
 * `terminating-not-serving` and `quarantined` (not ready) none.
 */
export type BackendState = "active" | "terminating" | "terminating-not-serving" | "quarantined";

export interface Backend {
  readonly address: L4Address;
  readonly state: BackendState;
  readonly nodeName?: string | undefined;
  readonly zone?: string | undefined;
  /** Zones and nodes whose clients it is meant for; empty: no preference was given. */
  readonly hints?: { readonly zones: readonly string[]; readonly nodes: readonly string[] } | undefined;
}

/** `Local`: only backends on the node that got the connection. */
export type TrafficPolicy = "Cluster" | "Local";

/** How a frontend's backends are chosen; the node's default when a service does not say. */
export type Algorithm = "random" | "maglev";

/** What is done to packets from outside: `snat` answers through the node that got them, `dsr` from the backend's node directly. */
export type Forwarding = "snat" | "dsr";

/** Who asks: programs and pods of the cluster, or clients outside of it. */
export type Scope = "internal" | "external";

/** One address of a service and everything behind it. */
export interface Frontend {
  readonly service: ServiceName;
  readonly portName: string;
  readonly type: FrontendType;
  /** The port is a node port on every node's own addresses when `ip` is `0.0.0.0` or `::`. */
  readonly address: L4Address;
  readonly backends: readonly Backend[];
  /** Seconds for which a client keeps its backend; absent without session affinity. */
  readonly affinitySeconds?: number | undefined;
  readonly internalPolicy: TrafficPolicy;
  /** Same as `internalPolicy` where clients outside have no other way in. */
  readonly externalPolicy: TrafficPolicy;
  /** Who may connect from outside; everybody when empty. */
  readonly sourceRanges: readonly Prefix[];
  /** The ranges name who may not. */
  readonly denySourceRanges: boolean;
  readonly algorithm?: Algorithm | undefined;
  readonly forwarding?: Forwarding | undefined;
  /** Pods of this node, `namespace/name`, for whom the redirect is not: they reach `unredirected`. Only of type LocalRedirect. */
  readonly skippedBy?: readonly string[] | undefined;
  /** The Service whose address a CiliumLocalRedirectPolicy, here `service`, has taken over. */
  readonly redirected?: ServiceName | undefined;
  /** What the address is without the redirect; absent: no service. */
  readonly unredirected?: Frontend | undefined;
}

/** All that a frontend leads to, for whomever. */
export function allBackends({ backends, unredirected }: Frontend): readonly Backend[] {
  return unredirected === undefined ? backends : [...backends, ...unredirected.backends];
}

/** The text is joined: one string, where a template would keep its pieces as well. */
export function l4Address(ip: string, port: number, protocol: L4Protocol): L4Address {
  return { ip, port, protocol, text: [ip.includes(":") ? `[${ip}]` : ip, ":", port, "/", protocol].join("") };
}

/** Unspecified, loopback, link-local and multicast addresses: whoever may write objects must not get into nodes by them. */
export function isSpecial(ip: string): boolean {
  const plain = ip.replace(/^::ffff:(?=\d+\.)/, "");
  return /^(0\.|127\.|169\.254\.|22[4-9]\.|23\d\.|255\.255\.255\.255$|::1?$|fe[89ab][0-9a-f]:|ff[0-9a-f]{2}:)/.test(plain);
}

/** Such an address is a node's for its own processes alone; in canonical text. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** Reads the `text` of an address; throws RangeError for anything else. */
export function parseL4Address(text: string): L4Address {
  const found = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)\/(TCP|UDP|SCTP)$/.exec(text);
  if (!found) throw new RangeError(`"${text}" is no address such as 10.96.0.1:443/TCP`);
  const [, six, four, port, protocol] = found;
  return l4Address(six ?? four ?? "", Number(port), protocol as L4Protocol);
}

export function serviceName(namespace: string, name: string): ServiceName {
  return { namespace, name, text: `${namespace}/${name}` };
}

/** Whether the frontend is a port of every node's own addresses. */
export function isWildcard({ address: { ip } }: Pick<Frontend, "address">): boolean {
  return ip === "0.0.0.0" || ip === "::";
}
