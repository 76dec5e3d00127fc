/** A pod, or the node's own stack, as flows name it. The same object while nothing changes: its message is made and encoded once. */
export interface EndpointNames {
  /** Number on this node; 0 for endpoints of other nodes. */
  readonly id: number;
  readonly identity: number;
  readonly namespace: string;
  readonly podName: string;
  /** `k8s:app=web`, sorted. */
  readonly labels: readonly string[];
  readonly workloads: readonly { readonly name: string; readonly kind: string }[];
  readonly clusterName: string;
}

export interface ServiceNames {
  readonly name: string;
  readonly namespace: string;
}

/** A policy rule behind a verdict. `index` counts from 0 in the list `section`, `spec` in `specs` (0 for `spec`). */
export interface PolicyNames {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Labels of the policy as upstream sets them (`k8s:io.cilium.k8s.policy.name=…`). */
  readonly labels: readonly string[];
  readonly revision: number;
  readonly section?: string;
  readonly index?: number;
  readonly spec?: number;
  /** Line of the rule in its author's document, when known. */
  readonly line?: number;
  /** `spec.log.value`. */
  readonly log?: string;
}

export interface LearnedName {
  readonly name: string;
  readonly until: number;
}

export interface DenialQuestion {
  /** The endpoint whose policy denied. */
  readonly endpointId: number;
  readonly direction: "ingress" | "egress";
  readonly remoteIdentity: number;
  /** IP protocol number. */
  readonly protocol: number;
  /** Destination port, or the ICMP type. */
  readonly port: number;
  /** The name that the endpoint knows the remote address by, or knew it by. */
  readonly name?: string;
}

/** Why something was denied, in the words of the policy engine. */
export interface Denial {
  /** The policies that deny: those with the deny rule, or those that turned default deny on. */
  readonly policies: readonly PolicyNames[];
  /** Sentences for people, most telling first. */
  readonly lines: readonly string[];
  /** The rules that came nearest to allowing it, and what kept each from doing so. */
  readonly nearest: readonly { readonly rule: PolicyNames; readonly reasons: readonly string[] }[];
  /** What would allow it; empty when nothing sensible can be said. */
  readonly fix?: string;
}

/**
 * Everything Hubble asks of the node it runs on. Called for each flow, so answers must come from memory; none may throw, and
 * `undefined` or an empty list is always a valid answer. Implemented by the agent.
 */
export interface Names {
  /** `node`, or `cluster/node` when the cluster's name is not `default`. */
  readonly nodeName: string;
  /** Labels of this node, `key=value`. */
  readonly nodeLabels: readonly string[];
  /** Any pod of the cluster, or the local node, by its address in canonical text. */
  endpointByIp(ip: string): EndpointNames | undefined;
  /** The pod of this node whose processes are in this cgroup, and its addresses; may be left out. */
  endpointByCgroup?(cgroupId: bigint): { readonly endpointId: number; readonly ips: readonly string[] } | undefined;
  /** An endpoint of this node. */
  endpointById(id: number): EndpointNames | undefined;
  /** Labels of an identity, sorted; empty when unknown. */
  identityLabels(identity: number): readonly string[];
  /** The identity the ipcache has for an address. */
  identityByIp(ip: string): number | undefined;
  /** The service that owns a ClusterIP or another frontend address; `port` 0 asks for any port. */
  serviceByAddress(ip: string, port: number): ServiceNames | undefined;
  /** DNS names, without the trailing dot, by which this endpoint of this node came to know the address. */
  dnsNames(endpointId: number, ip: string): readonly string[];
  /** The newest of them and until when it lets connections begin (milliseconds since 1970); may be left out. */
  learnedName?(endpointId: number, ip: string): LearnedName | undefined;
  /** Name of a network device of this node. */
  interfaceName(ifindex: number): string | undefined;
  /** The rules of a policy map entry's cookie (also of the default-deny cookie); empty for 0 and for forgotten cookies. */
  policiesOf(cookie: number): readonly PolicyNames[];
  /** Changes whenever an answer of `explainDenial` may have changed: answers are kept meanwhile. */
  policyRevision(): number;
  /** Why the present policy of the endpoint denies this; undefined when it would be allowed or the endpoint is unknown. */
  explainDenial(question: DenialQuestion): Denial | undefined;
}

/** Knows nothing: for tests and for the first moments of an agent. */
export const noNames: Names = {
  nodeName: "",
  nodeLabels: [],
  endpointByIp: () => undefined,
  endpointById: () => undefined,
  identityLabels: () => [],
  identityByIp: () => undefined,
  serviceByAddress: () => undefined,
  dnsNames: () => [],
  interfaceName: () => undefined,
  policiesOf: () => [],
  policyRevision: () => 0,
  explainDenial: () => undefined,
};
