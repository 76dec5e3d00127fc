/** The parts of Kubernetes objects that this project reads or writes; everything else is passed through untouched. */
export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface Namespace extends KubeObject {
  status?: { phase?: string };
}

export interface Secret extends KubeObject {
  type?: string;
  /** Base64. */
  data?: Readonly<Record<string, string>>;
}

export interface ContainerPort {
  name?: string;
  containerPort: number;
  protocol?: string;
  hostPort?: number;
}

export interface Container {
  name: string;
  image?: string;
  ports?: ContainerPort[];
}

export interface Pod extends KubeObject {
  spec?: {
    nodeName?: string;
    hostNetwork?: boolean;
    serviceAccountName?: string;
    containers?: Container[];
  };
  status?: {
    phase?: string;
    podIP?: string;
    podIPs?: { ip: string }[];
    hostIP?: string;
    conditions?: Condition[];
    containerStatuses?: ContainerStatus[];
  };
}

export interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  state?: { waiting?: { reason?: string }; terminated?: ContainerEnd };
  lastState?: { terminated?: ContainerEnd };
}

export interface ContainerEnd {
  exitCode: number;
  finishedAt?: string;
}

export interface Taint {
  key: string;
  value?: string;
  effect: string;
}

export interface Node extends KubeObject {
  spec?: { podCIDR?: string; podCIDRs?: string[]; taints?: Taint[] };
  status?: {
    addresses?: { type: string; address: string }[];
    conditions?: Condition[];
    nodeInfo?: { kubeletVersion?: string };
  };
}

export interface ServicePort {
  name?: string;
  port: number;
  targetPort?: number | string;
  protocol?: string;
  nodePort?: number;
  appProtocol?: string;
}

export interface Service extends KubeObject {
  spec?: {
    type?: string;
    clusterIP?: string;
    clusterIPs?: string[];
    externalIPs?: string[];
    loadBalancerIP?: string;
    ports?: ServicePort[];
    selector?: Record<string, string>;
    sessionAffinity?: string;
    sessionAffinityConfig?: { clientIP?: { timeoutSeconds?: number } };
    externalTrafficPolicy?: string;
    internalTrafficPolicy?: string;
    publishNotReadyAddresses?: boolean;
    loadBalancerSourceRanges?: string[];
    healthCheckNodePort?: number;
    trafficDistribution?: string;
    loadBalancerClass?: string;
    ipFamilies?: string[];
    ipFamilyPolicy?: string;
  };
  status?: { loadBalancer?: { ingress?: { ip?: string; hostname?: string; ipMode?: string }[] }; conditions?: Condition[] };
}

export interface EndpointSlice extends KubeObject {
  addressType: string;
  endpoints?: {
    addresses: string[];
    conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean };
    nodeName?: string;
    zone?: string;
    targetRef?: { kind?: string; namespace?: string; name?: string };
    hints?: { forZones?: { name: string }[]; forNodes?: { name: string }[] };
  }[];
  ports?: { name?: string; port?: number; protocol?: string }[];
}

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

export interface DaemonSet extends KubeObject {
  spec?: { selector?: { matchLabels?: Record<string, string> }; template?: { spec?: Pod["spec"] } };
  status?: { desiredNumberScheduled?: number; numberReady?: number; numberAvailable?: number };
}

export interface Deployment extends KubeObject {
  spec?: { replicas?: number; selector?: { matchLabels?: Record<string, string> }; template?: { spec?: Pod["spec"] } };
  status?: { replicas?: number; readyReplicas?: number; availableReplicas?: number };
}

/** A CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy or ClusterNetworkPolicy; the policy engine parses what is inside. */
export interface PolicyObject extends KubeObject {
  spec?: unknown;
  specs?: unknown;
  status?: { conditions?: Condition[]; usage?: PolicyUsage & { nodes?: number } };
}

/** What a policy has decided. */
export interface PolicyUsage {
  /** Pods that it selects. */
  readonly endpoints?: number;
  readonly packets?: number;
  /** Packets that audit mode let pass. */
  readonly audited?: number;
  /** RFC 3339, to the second. */
  readonly lastHit?: string;
  /** Packets, and requests, of each rule that has decided something: `ingress[0]`, `specs[1].egress[0]`, `ingress default deny`. */
  readonly rules?: Readonly<Record<string, number>>;
}

/** What the policies of one node have decided; named as the node. */
export interface CiliumPolicyUsage extends KubeObject {
  /** By `policyKey`. */
  policies?: Readonly<Record<string, PolicyUsage>>;
}

export interface CiliumIdentity extends KubeObject {
  "security-labels": Record<string, string>;
}

export interface CiliumEndpoint extends KubeObject {
  status?: {
    id?: number;
    identity?: { id?: number; labels?: string[] };
    networking?: { addressing?: { ipv4?: string; ipv6?: string }[]; node?: string };
    "external-identifiers"?: Record<string, string>;
    "named-ports"?: { name: string; port: number; protocol: string }[];
    policy?: Record<string, unknown>;
    state?: string;
    "service-account"?: string;
  };
}

export interface CiliumNode extends KubeObject {
  spec?: {
    addresses?: { type: string; ip: string }[];
    ipam?: { podCIDRs?: string[] };
    health?: { ipv4?: string; ipv6?: string };
    encryption?: { key?: number };
    bootid?: string;
  };
}

interface RedirectPort {
  port: string;
  protocol?: string;
  name?: string;
}

export interface CiliumLocalRedirectPolicy extends KubeObject {
  spec?: {
    redirectFrontend?: {
      addressMatcher?: { ip: string; toPorts?: RedirectPort[] };
      serviceMatcher?: { serviceName: string; namespace: string; toPorts?: RedirectPort[] };
    };
    redirectBackend?: {
      localEndpointSelector?: { matchLabels?: Record<string, string>; matchExpressions?: LabelRequirement[] };
      toPorts?: RedirectPort[];
    };
    skipRedirectFromBackend?: boolean;
  };
}

interface LabelRequirement {
  key: string;
  operator: string;
  values?: string[];
}

export interface CiliumLoadBalancerIPPool extends KubeObject {
  spec?: {
    blocks?: { cidr?: string; start?: string; stop?: string }[];
    serviceSelector?: { matchLabels?: Record<string, string>; matchExpressions?: LabelRequirement[] };
    disabled?: boolean;
    allowFirstLastIPs?: string;
  };
  status?: { conditions?: Condition[] };
}

export interface CiliumCIDRGroup extends KubeObject {
  spec?: { externalCIDRs?: string[] };
}
